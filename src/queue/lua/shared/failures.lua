-- Failed lines, and their counts by group, so that an overview needs no scan.

-- Counts one failure of a group, so that an overview needs no scan.
local function group_put(line, group)
  local old = redis.call('HGET', KINDS, line)
  if old == group then return end
  if old then redis.call('HINCRBY', GROUPS, old, -1) end
  redis.call('HSET', KINDS, line, group)
  if redis.call('HINCRBY', GROUPS, group, 1) == 1 or redis.call('HEXISTS', SAMPLES, group) == 0 then
    redis.call('HSET', SAMPLES, group, line)
  end
end

local function group_drop(line)
  local old = redis.call('HGET', KINDS, line)
  if not old then return end
  redis.call('HDEL', KINDS, line)
  if redis.call('HINCRBY', GROUPS, old, -1) <= 0 then
    redis.call('HDEL', GROUPS, old)
    redis.call('HDEL', SAMPLES, old)
  end
end

-- Forgets that a line ever failed.
local function failure_clear(line)
  redis.call('HDEL', FAILED, line)
  redis.call('HDEL', REASON, line)
  group_drop(line)
end
