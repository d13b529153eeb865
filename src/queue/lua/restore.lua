-- Puts lines that aside.lua set aside back to todo, in their old place in the order.
--
-- ARGV: 1 ms a failed worker leaves a retry to others, then for each line three: line, class "MEM:CPU:", score without sequence.
-- Returns: how many wait again.
-- Keeps: a line is in TODO before it leaves ASIDE; repeating the call is safe. A line that somebody else has added, started or finished meanwhile stays
--       what it is.

local restored = 0
local now = now_ms()
for i = 2, #ARGV, 3 do
  local line, class = ARGV[i], ARGV[i + 1]
  local score = redis.call('HGET', ASIDE, line)
  if score then
    local is_elsewhere = redis.call('HEXISTS', TODO, line) == 1 or redis.call('HEXISTS', IN_PROGRESS, line) == 1
      or redis.call('HEXISTS', FINISHED, line) == 1
    if not is_elsewhere then
      if score == '' then score = int(tonumber(ARGV[i + 2]) + sequence(1)) end
      put_back(line, class, score, redis.call('HGET', FAILED, line), now, 0, tonumber(ARGV[1]))
      restored = restored + 1
    end
    redis.call('HDEL', ASIDE, line)
  end
end
index_flush()
wake_idle()
return restored
