-- Running suspects (suspects.lua) apart from other tasks, so that the one that kills workers is found and no other is blamed for it.
--
-- A worker runs one suspect at a time. A suspect of level 1 runs only beside tasks whose start a heartbeat has reported, one of level 2 beside nothing. Nothing
-- starts beside a suspect until it has run longer, by a margin, than it had when its worker was lost. Only one worker at a time makes room for a suspect; the
-- others pass suspects over. A suspect of level 0 is only never claimed ahead.
-- APART_BY[worker] = SINCE|MS|LINE is what runs apart, and for how long; APART_BY[""] = WORKER|UNTIL|SINCE is who makes room.
-- The claim sets by (its worker), now, and lease (how long a worker may make room without another word).

local isolation = { settled = {} }

-- How long a suspect runs apart: a little longer than before its worker was lost. A suspect that had run for long is an unlikely culprit, so its time is
-- bounded; the bound grows with each loss.
local function run_for(line)
  local ms = tonumber(string.match(redis.call('HGET', APART, line) or '', '^%d|(%d+)$') or '0')
  local most = 20000 * 8 ^ math.min(6, math.max(0, tonumber(redis.call('HGET', LOST, line) or '1') - 1))
  return math.floor(ms <= most and ms * 1.25 + 500 or most / 2)
end

-- For how many more milliseconds a suspect of this worker runs apart; nil when none does any more.
function isolation.goes_on()
  local by = redis.call('HGET', APART_BY, isolation.by)
  local since, ms, line = string.match(by or '', '^(%d+)|(%d+)|(.*)$')
  if line and redis.call('HEXISTS', CLAIMS, line) == 1 then
    -- The start is in the future: the server's clock was set back.
    if tonumber(since) > isolation.now then
      since = int(isolation.now)
      redis.call('HSET', APART_BY, isolation.by, since .. '|' .. ms .. '|' .. line)
    end
    local left = tonumber(since) + tonumber(ms) - isolation.now
    if left > 0 then return left end
    redis.call('HDEL', APART, line)
  end
  if by then redis.call('HDEL', APART_BY, isolation.by) end
end

-- A line that a Python worker or a person has dealt with is no longer a suspect. Each call checks one.
function isolation.check_one()
  local one = redis.call('HRANDFIELD', APART)
  if one and not is_waiting(one) and redis.call('HEXISTS', IN_PROGRESS, one) == 0 then redis.call('HDEL', APART, one) end
end

-- Whether a suspect of this level can start beside what runs here without blaming any of it.
local function is_settled(level)
  local settled = isolation.settled
  if settled[level] == nil then
    local claims = redis.call('HVALS', CLAIMS)
    settled[level] = #claims == 0 or level == '1'
    for _, claim in ipairs(claims) do
      if select(3, claim_parts(claim)) ~= '1' then settled[level] = false end
    end
  end
  return settled[level]
end

-- Whether this worker makes room for suspects: one worker at a time does. For level 2 it does so for a minute at most, and then not for ten minutes.
local function makes_room(level)
  local worker, now = isolation.by, isolation.now
  local holder, untl, since = string.match(redis.call('HGET', APART_BY, '') or '', '^(.*)|(%d+)|(%d+)$')
  local is_valid = holder and tonumber(untl) >= now and tonumber(untl) <= now + isolation.lease
  if is_valid and holder ~= worker then return false end
  if holder ~= worker or tonumber(since) > now or now - tonumber(since) > 660000 then since = int(now) end
  if level == '2' and now - tonumber(since) > 60000 then return false end
  redis.call('HSET', APART_BY, '', worker .. '|' .. int(now + isolation.lease) .. '|' .. since)
  return true
end

-- What to do with a suspect that is next, with so many claimed in this call: "run" it apart, "wait" with everything behind it, "pass" it over, or nil: claim
-- it like any other task. No suspect is claimed ahead.
function isolation.verdict(lane, is_now, claimed)
  if not is_now then return 'pass' end
  if lane.level == '0' then return nil end
  if claimed == 0 and is_settled(lane.level) then return 'run' end
  return makes_room(lane.level) and 'wait' or 'pass'
end

-- Notes that a suspect was claimed to run apart; returns for how many milliseconds.
function isolation.start(line)
  local ms = run_for(line)
  redis.call('HSET', APART_BY, isolation.by, int(isolation.now) .. '|' .. int(ms) .. '|' .. line)
  return ms
end
