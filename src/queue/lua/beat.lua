-- The heartbeat: proves the worker alive, names what it has started, and brings back what it is asked to do.
--
-- ARGV: 1 worker, 2 instance:epoch, 3 "USEDCORES:TOTALCORES:USEDGB:TOTALGB", 4 load (JSON, for people), 5 capacity "MEM:CPU" or "" when it takes
--       nothing more, 6 how many lines were newly started, then those lines, then the lines whose revocation it has carried out.
-- Returns: OK or FENCED, then 1 if asked to drain, 1 if the stop command is there, then the lines it must stop running.

local worker = ARGV[1]
if not is_owner(worker, ARGV[2]) then return { 'FENCED' } end
redis.call('HSET', STATUS, worker, redis.call('TIME')[1] .. ':' .. ARGV[3])
redis.call('HSET', LOAD, worker, ARGV[4])
if ARGV[5] ~= '' then
  redis.call('HSET', CAPACITY, worker, ARGV[5])
else
  redis.call('HDEL', CAPACITY, worker)
  redis.call('HDEL', IDLE, worker)
end
local started = tonumber(ARGV[6])
for i = 7, 6 + started do
  local claim = redis.call('HGET', CLAIMS, ARGV[i])
  if claim then
    local token, attempt, _, score = claim_parts(claim)
    redis.call('HSET', CLAIMS, ARGV[i], token .. '|' .. attempt .. '|1|' .. score)
    events[#events + 1] = 's\t' .. attempt .. '\t\t' .. brief(ARGV[i])
  end
end
for i = 7 + started, #ARGV do redis.call('HDEL', REVOKED, ARGV[i]) end
if #events > 0 then
  events[1] = 'C\t' .. worker .. '\n' .. events[1]
  events_flush()
end
local reply = { 'OK', redis.call('HEXISTS', DRAIN, worker), redis.call('HEXISTS', TODO, CLOSE) }
if redis.call('HLEN', REVOKED) > 0 then
  for _, line in ipairs(redis.call('HKEYS', REVOKED)) do reply[#reply + 1] = line end
end
return reply
