-- Removes what is left of a worker that was declared dead and holds no claim any more.
--
-- ARGV: 1 the worker.
-- Returns: 1 when it is gone, 0 when it lives again or claims are left. A drain stays: it is of the name.

local dead = ARGV[1]
local owner = redis.call('HGET', OWNER, dead)
if owner and string.sub(owner, 1, 6) ~= '!dead:' then return 0 end
if redis.call('HLEN', CLAIMS) > 0 then return 0 end
for _, key in ipairs { STATUS, CAPACITY, LOAD, WORKERS, OWNER, IDLE, APART_BY } do redis.call('HDEL', key, dead) end
redis.call('DEL', REVOKED)
events[1] = 'W\tburied\t' .. dead
events_flush()
return 1
