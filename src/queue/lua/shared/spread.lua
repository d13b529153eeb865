-- Histograms of the whole queue: SPREAD["WHAT:N"] counts the values up to the Nth bound and above the one before, SPREAD["WHAT:sum"] is their sum. WHAT is
-- "run" (run time of attempts that finished or failed, ms), "wait" (from the submission of a task to its first claim, ms), or "mem" (peak memory of
-- finished tasks in thousandths of what they declare). model/spread.rs has the same bounds.
--
-- READY .. "submitted" is a sorted set that tells when a sequence number was given out: each second in which tasks were added, by its last number.

local spread = {
  run = { 10, 50, 100, 500, 1000, 5000, 15000, 60000, 300000, 900000, 3600000, 10800000, 21600000, 43200000 },
  wait = { 1000, 5000, 15000, 60000, 300000, 900000, 3600000, 10800000, 43200000, 86400000 },
  mem = { 100, 250, 500, 750, 900, 1000, 1100, 1250, 1500, 2000 },
  counts = {}, sums = {},
}

function spread.note(what, value)
  local counts, bounds, at = spread.counts[what], spread[what], 1
  if not counts then
    counts = {}
    spread.counts[what], spread.sums[what] = counts, 0
  end
  while bounds[at] and value > bounds[at] do at = at + 1 end
  counts[at] = (counts[at] or 0) + 1
  spread.sums[what] = spread.sums[what] + value
end

-- The first claim of a task with this score: it has waited since its number was given out.
function spread.waited(score, now)
  local seq = score % 137438953472
  if not spread.from or seq < spread.from or seq > spread.to then
    local found = redis.call('ZRANGEBYSCORE', READY .. 'submitted', int(seq), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    spread.from, spread.to, spread.at = seq, tonumber(found[2] or seq), tonumber(found[1])
  end
  if spread.at then spread.note('wait', math.max(0, now - spread.at * 1000)) end
end

function spread.flush()
  for what, counts in pairs(spread.counts) do
    for at, n in pairs(counts) do redis.call('HINCRBY', SPREAD, what .. ':' .. int(at), n) end
    redis.call('HINCRBY', SPREAD, what .. ':sum', int(spread.sums[what]))
  end
end
