-- The record of workers that were declared dead: DIED[worker] = "DECLARED|BEAT|RETURNED|FAILED". The first two are moments in seconds by the clock of the
-- server, when it was declared dead and its last heartbeat (0: none is known); then how many of its tasks went back to todo, and how many failed. It is
-- begun by the call that declares the worker dead, and counts what each call takes over. It goes when a worker of that name attaches, when an operator
-- removes it, and a day later. It is bounded.

local deaths = { most = 1000, seconds = 86400 }

local function death_parts(record) return string.match(record or '', '^(%d+)|(%d+)|(%d+)|(%d+)$') end

function deaths.begin(worker, now)
  local beat = string.match(redis.call('HGET', STATUS, worker) or '', '^(%d+)') or '0'
  redis.call('HSET', DIED, worker, int(now / 1000) .. '|' .. beat .. '|0|0')
end

function deaths.add(worker, returned, failed)
  if returned + failed == 0 then return end
  local at, beat, returned_before, failed_before = death_parts(redis.call('HGET', DIED, worker))
  if not at then return end
  redis.call('HSET', DIED, worker, at .. '|' .. beat .. '|' .. int(returned_before + returned) .. '|' .. int(failed_before + failed))
end

-- Removes what is older than a day, and the oldest of too many.
function deaths.prune(now)
  local all, kept = redis.call('HGETALL', DIED), {}
  for i = 1, #all, 2 do
    local at = tonumber((death_parts(all[i + 1]))) or 0
    if at + deaths.seconds <= now / 1000 then redis.call('HDEL', DIED, all[i]) else kept[#kept + 1] = { at, all[i] } end
  end
  if #kept <= deaths.most then return end
  table.sort(kept, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
  for i = 1, #kept - deaths.most do redis.call('HDEL', DIED, kept[i][2]) end
end
