-- Removes the remaining data of a worker that was declared dead and holds no claims.
--
-- What stays is the record of its death. A worker that an older build has declared dead gets one here.
-- Returns: 1 when the worker is gone, 0 when it lives again or has claims. Its drain stays, because a drain belongs to the name.
-- Records: ARG, in queue/records.rs.

local dead = ARGV[ARG.worker]
local owner = redis.call('HGET', OWNER, dead)
if owner and string.sub(owner, 1, 6) ~= '!dead:' then return 0 end
if redis.call('HLEN', CLAIMS) > 0 then return 0 end
local now = now_ms()
if owner and redis.call('HEXISTS', DIED, dead) == 0 then deaths.begin(dead, now) end
deaths.prune(now)
for _, key in ipairs { STATUS, CAPACITY, LOAD, WORKERS, OWNER, IDLE, APART_BY } do redis.call('HDEL', key, dead) end
redis.call('DEL', REVOKED)
events[1] = 'W\tburied\t' .. dead
events_flush()
return 1
