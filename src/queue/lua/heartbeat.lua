-- The heartbeat: proves the worker alive, names what it has started, and brings back what it is asked to do.
--
-- ARGV: 1 worker, 2 instance:epoch, 3 "USEDCORES:TOTALCORES:USEDGB:TOTALGB", 4 load (JSON, for people), 5 capacity "MEM:CPU" or "" when it takes
--       nothing more, 6 its field order, 7 how many lines were newly started, then those lines, then two for each that it has stopped running: line, token of the claim.
-- Returns: OK or FENCED, then 1 if asked to drain, 1 if the stop command is there, 1 if the queue has another field order, then two for each line it must stop running: line, token.
-- Keeps: a task that an operator has ordered away is moved here at the earliest, when its worker says that nothing of it runs. By its token a heartbeat
--       that comes late moves no later claim of the same line.

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
local started = tonumber(ARGV[7])
for i = 8, 7 + started do
  local claim = redis.call('HGET', CLAIMS, ARGV[i])
  if claim then
    local token, attempt, _, score, at = claim_parts(claim)
    renew_claim(ARGV[i], claim_text(token, attempt, '1', score, at))
    events[#events + 1] = 's\t' .. attempt .. '\t\t' .. brief(ARGV[i])
  end
end
for i = 8 + started, #ARGV, 2 do
  local line, token = ARGV[i], ARGV[i + 1]
  if redis.call('HGET', REVOKED, line) == token then
    local mark = redis.call('HGET', IN_PROGRESS, line) == worker and mark_of(line, worker, token)
    if mark then carry_out(line, mark, CLAIMS) end
    redis.call('HDEL', REVOKED, line)
  end
end
index_flush()
if #events > 0 then
  events[1] = 'C\t' .. worker .. '\n' .. events[1]
  events_flush()
end
wake_idle()
local reply = { 'OK', redis.call('HEXISTS', DRAIN, worker), redis.call('HEXISTS', TODO, STOP_FIELD), order_agrees(ARGV[6]) and 0 or 1 }
if redis.call('HLEN', REVOKED) > 0 then
  -- Of many long ones some: the rest when these have been stopped.
  local bytes, revoked = 0, redis.call('HGETALL', REVOKED)
  for i = 1, #revoked, 2 do
    if bytes > 262144 then break end
    reply[#reply + 1], reply[#reply + 2] = revoked[i], revoked[i + 1]
    bytes = bytes + #revoked[i]
  end
end
return reply
