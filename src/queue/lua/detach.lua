-- Frees the name at a clean exit. If unsettled claims are left, the name stays, so that they can be reclaimed.
--
-- Returns: 1 when the name is free, 0 when claims are left (the heartbeat goes, the owner stays), or FENCED.
-- Nothing runs there any more, so the orders of operators for its tasks are carried out.
-- Records: ARG, in queue/records.rs.

local worker = ARGV[ARG.worker]
if not is_owner(worker, ARGV[ARG.fence]) then return 'FENCED' end
redis.call('HDEL', STATUS, worker)
redis.call('HDEL', CAPACITY, worker)
redis.call('HDEL', LOAD, worker)
redis.call('HDEL', IDLE, worker)
redis.call('HDEL', APART_BY, worker)
local revoked = redis.call('HGETALL', REVOKED)
for i = 1, #revoked, 2 do
  local mark = redis.call('HGET', IN_PROGRESS, revoked[i]) == worker and mark_of(revoked[i], worker, revoked[i + 1])
  if mark then carry_out(revoked[i], mark, CLAIMS) else limits.let_go(revoked[i]) end
end
members.flush(turns.at_zero)
index_flush()
redis.call('DEL', REVOKED)
events[1] = 'W\tleft\t' .. worker
events_flush()
wake_idle()
if redis.call('HLEN', CLAIMS) > 0 then return 0 end
redis.call('HDEL', OWNER, worker)
redis.call('HDEL', WORKERS, worker)
return 1
