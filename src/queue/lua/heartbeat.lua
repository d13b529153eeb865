-- The heartbeat: proves the worker alive, names the tasks that it has started, and returns what it is asked to do.
--
-- Guarantees: an ordered task is moved here at the earliest, when its worker reports that nothing of it runs. The token keeps a late heartbeat from moving
-- a later claim of the same line.
-- Records: ARG, EACH, REPLY, ROW, in queue/records.rs.

local worker = ARGV[ARG.worker]
if not is_owner(worker, ARGV[ARG.fence]) then return { 'FENCED' } end
redis.call('HSET', STATUS, worker, redis.call('TIME')[1] .. ':' .. ARGV[ARG.usage])
redis.call('HSET', LOAD, worker, ARGV[ARG.load])
if ARGV[ARG.offer] ~= '' then
  redis.call('HSET', CAPACITY, worker, ARGV[ARG.offer] .. ':' .. ARGV[ARG.traits])
else
  redis.call('HDEL', CAPACITY, worker)
  redis.call('HDEL', IDLE, worker)
end
limits.me = traits_of(ARGV[ARG.traits])
limits.recount(worker, { CLAIMS, REVOKED })
local started = tonumber(ARGV[ARG.started])
for i = ARG.size + 1, ARG.size + started do
  local claim = redis.call('HGET', CLAIMS, ARGV[i])
  if claim then
    local token, attempt, _, score, at = claim_parts(claim)
    renew_claim(ARGV[i], claim_text(token, attempt, '1', score, at))
    events[#events + 1] = 's\t' .. attempt .. '\t\t' .. brief(ARGV[i])
  end
end
for i = ARG.size + 1 + started, #ARGV, EACH.size do
  local line, token = ARGV[i + EACH.line], ARGV[i + EACH.token]
  local revoked = redis.call('HGET', REVOKED, line)
  if revoked == token then
    local mark = redis.call('HGET', IN_PROGRESS, line) == worker and mark_of(line, worker, token)
    if mark then carry_out(line, mark, CLAIMS) end
    redis.call('HDEL', REVOKED, line)
  end
  if not revoked or revoked == token then limits.let_go(line) end
end
members.flush(turns.at_zero)
index_flush()
if #events > 0 then
  events[1] = 'C\t' .. worker .. '\n' .. events[1]
  events_flush()
end
wake_idle()
local suspect, may_try = blame.judge(worker, tonumber(ARGV[ARG.suspect_after]), now_ms())
local reply = {
  [REPLY.suspect] = suspect, [REPLY.may_try] = may_try, [REPLY.state] = 'OK', [REPLY.drain] = redis.call('HEXISTS', DRAIN, worker), [REPLY.stop] = redis.call('HEXISTS', TODO, STOP_FIELD),
  [REPLY.other_order] = order_agrees(ARGV[ARG.order]) and 0 or 1,
}
if redis.call('HLEN', REVOKED) > 0 then
  -- Of many long lines only some: the rest follow when these have been stopped.
  local bytes, revoked = 0, redis.call('HGETALL', REVOKED)
  for i = 1, #revoked, 2 do
    if bytes > 262144 then break end
    local at = #reply + 1
    reply[at + ROW.line], reply[at + ROW.token] = revoked[i], revoked[i + 1]
    bytes = bytes + #revoked[i]
  end
end
return reply
