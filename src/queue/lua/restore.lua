-- Puts lines that aside.lua set aside back to todo, at their old place in the order.
--
-- Returns: how many wait again.
-- Guarantees: a line waits before it leaves ASIDE; the call is safe to repeat. A line that somebody has added, started or finished meanwhile is not
-- changed.
-- Records: ARG, EACH, in queue/records.rs.

local restored = 0
local now = now_ms()
for i = ARG.size + 1, #ARGV, EACH.size do
  local line, class = ARGV[i + EACH.line], ARGV[i + EACH.class]
  local score = redis.call('HGET', ASIDE, line)
  if score then
    local is_elsewhere = is_waiting(line) or redis.call('HEXISTS', IN_PROGRESS, line) == 1
      or redis.call('HEXISTS', FINISHED, line) == 1
    if not is_elsewhere then
      if score == '' then score = int(tonumber(ARGV[i + EACH.base_score]) + sequence(1)) end
      put_back(line, class, score, redis.call('HGET', FAILED, line), now, 0, tonumber(ARGV[ARG.avoid]))
      restored = restored + 1
    end
    redis.call('HDEL', ASIDE, line)
  end
end
index_flush()
wake_idle()
return restored
