-- Adds a batch of task lines to todo_tasks and to the index.
--
-- ARGV: 1 "1" to add those already finished or out of retries too, then for each line three: line, class ("MEM:CPU:"), score without
--       sequence, that is (65535 - priority) * 2^37.
-- Returns: how many were added, already queued, running, finished, failed.
-- Keeps: HSETNX comes before whatever is removed; repeating the call is safe.

local rerun = ARGV[1] == '1'
local n = (#ARGV - 1) / 3
local seq = sequence(n)
local added, queued, running, finished, failed = 0, 0, 0, 0, 0
for i = 2, #ARGV, 3 do
  local line = ARGV[i]
  local score = int(tonumber(ARGV[i + 2]) + seq)
  seq = seq + 1
  if redis.call('HEXISTS', INP, line) == 1 then
    running = running + 1
  elseif redis.call('HEXISTS', TODO, line) == 1 then
    queued = queued + 1
  else
    local is_finished = redis.call('HEXISTS', FINISHED, line) == 1
    local is_failed = redis.call('HEXISTS', FAILED, line) == 1
    if not rerun and (is_finished or is_failed) then
      if is_finished then finished = finished + 1 else failed = failed + 1 end
    else
      redis.call('HSET', TODO, line, '')
      index_put(ARGV[i + 1], line, score)
      added = added + 1
      if is_finished then redis.call('HDEL', FINISHED, line) end
      if is_failed then failure_clear(line) end
    end
  end
end
index_flush()
if added > 0 then redis.call('PUBLISH', WAKE, 'todo') end
return { added, queued, running, finished, failed }
