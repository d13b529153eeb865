-- What a worker leaves to other workers: a lane whose tasks it has failed and another has not, and one that prefers labels which others have.
--
-- PREFERRED[lane] is when a worker with the preferred labels last took from it, or when it was first left to them: until none of them has taken anything from
-- it for a while. The claim sets worker, me (its traits), now, dead_ms (after how long without a heartbeat a worker counts as dead) and prefer_ms (how
-- long a lane is left to those it prefers). wait_ms is then how long the first of the lanes that were left is left still; nil for none.

local others = {}
local PREFERRED = READY .. 'preferred'

-- Our live workers that take tasks. They are read only when something is found that this worker may leave to others.
local function live_workers()
  if others.live then return others.live end
  others.live = {}
  local capacity = redis.call('HGETALL', CAPACITY)
  for i = 1, #capacity, 2 do
    local beat = string.match(redis.call('HGET', STATUS, capacity[i]) or '', '^(%d+)')
    if beat and others.now - tonumber(beat) * 1000 < others.dead_ms + 1000 then
      local m, c, traits = capacity_parts(capacity[i + 1])
      if m then table.insert(others.live, { name = ',' .. capacity[i] .. ',', mem = m, cpu = c, traits = traits_of(traits) }) end
    end
  end
  return others.live
end

-- Whether a live worker could run such a task, of those for which is_one holds.
local function could(lane, is_one)
  for _, other in ipairs(live_workers()) do
    if lane.mem <= other.mem and lane.cpu <= other.cpu and is_one(other)
      and (lane.needs == '' or suits(other.traits, needs_of(lane.needs), others.now)) then
      return true
    end
  end
  return false
end

-- Whether this worker failed it and another that has not could run it.
local function others_have_not_failed(lane)
  if lane.workers == '' then return false end
  local failed = ',' .. lane.workers
  if not string.find(failed, ',' .. others.worker .. ',', 1, true) then return false end
  return could(lane, function(other) return not string.find(failed, other.name, 1, true) end)
end

local function others_are_preferred(lane)
  if lane.needs == '' then return false end
  local prefer = needs_of(lane.needs).prefer
  if #prefer == 0 then return false end
  if labels_hold(others.me.labels, prefer) then
    lane.is_preferred = true
    return false
  end
  if not could(lane, function(other) return labels_hold(other.traits.labels, prefer) end) then return false end
  local since = tonumber(redis.call('HGET', PREFERRED, lane.name) or '')
  -- A time in the future is from before the server's clock was set back.
  if not since or since > others.now then
    since = others.now
    redis.call('HSET', PREFERRED, lane.name, int(since))
  end
  local left = since + others.prefer_ms - others.now
  if left <= 0 then return false end
  if not others.wait_ms or left < others.wait_ms then others.wait_ms = left end
  return true
end

-- Whether a lane is left to others for now.
function others.first(lane) return others_have_not_failed(lane) or others_are_preferred(lane) end

-- Notes that a worker with the preferred labels took from a lane.
function others.took_preferred(lane)
  if lane_head(lane) then redis.call('HSET', PREFERRED, lane, int(others.now)) else redis.call('HDEL', PREFERRED, lane) end
end
