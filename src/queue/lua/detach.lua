-- A clean exit frees the name. Claims that were not settled keep it, so that they can be reclaimed.
--
-- ARGV: 1 worker, 2 instance:epoch.
-- Returns: 1 when the name is free, 0 when claims are left (the heartbeat goes, the owner stays), FENCED.

local worker = ARGV[1]
if not is_owner(worker, ARGV[2]) then return 'FENCED' end
redis.call('HDEL', STATUS, worker)
redis.call('HDEL', CAPACITY, worker)
redis.call('HDEL', LOAD, worker)
redis.call('HDEL', IDLE, worker)
redis.call('HDEL', DRAIN, worker)
redis.call('DEL', REVOKED)
events[1] = 'W\tleft\t' .. worker
events_flush()
if redis.call('HLEN', CLAIMS) > 0 then return 0 end
redis.call('HDEL', OWNER, worker)
redis.call('HDEL', WORKERS, worker)
return 1
