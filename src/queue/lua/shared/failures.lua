-- Failed lines, their counts by group, and the lines of each group in the order in which they failed, so that no view needs a scan.
--
-- KINDS_OF .. group is a sorted set of the lines of a group, by the moment of their last failure in milliseconds. Readers believe KINDS: a line that is in a
-- set of another group, or of a build that knew no sets, costs them a look and no more. The keys of the sets cannot be declared beforehand. They all begin
-- with KINDS_OF, which is declared.

-- RETRYING holds the lines of FAILED that wait or run again. A line joins when it is put back after a failure, and leaves where it ends, so that FAILED less
-- RETRYING is what has failed for good. What others move, reconcile.lua corrects.
local function will_be_retried(line) redis.call('HSET', RETRYING, line, '') end
local function is_not_retried(line) redis.call('HDEL', RETRYING, line) end

-- Counts one failure of a group.
local function group_put(line, group)
  redis.call('ZADD', KINDS_OF .. group, int(now_ms()), line)
  local old = redis.call('HGET', KINDS, line)
  if old == group then return end
  if old then
    redis.call('HINCRBY', GROUPS, old, -1)
    redis.call('ZREM', KINDS_OF .. old, line)
  end
  redis.call('HSET', KINDS, line, group)
  if redis.call('HINCRBY', GROUPS, group, 1) == 1 or redis.call('HEXISTS', SAMPLES, group) == 0 then
    redis.call('HSET', SAMPLES, group, line)
  end
end

local function group_drop(line)
  local old = redis.call('HGET', KINDS, line)
  if not old then return end
  redis.call('HDEL', KINDS, line)
  redis.call('ZREM', KINDS_OF .. old, line)
  if redis.call('HINCRBY', GROUPS, old, -1) <= 0 then
    redis.call('HDEL', GROUPS, old)
    redis.call('HDEL', SAMPLES, old)
  end
end

-- Forgets that a line ever failed.
local function failure_clear(line)
  redis.call('HDEL', FAILED, line)
  redis.call('HDEL', REASON, line)
  is_not_retried(line)
  group_drop(line)
end
