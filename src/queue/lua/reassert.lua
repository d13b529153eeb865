-- After a reconnect, and in the periodic audit: says which of the lines a worker runs are still its own.
--
-- ARGV: 1 worker, 2 instance:epoch, 3 "1" when Redis may have lost data, then for each line four: line, token, attempt, class "MEM:CPU:".
-- Returns: OK or FENCED, then for each line ok (its own), back (it was in todo; taken again) or kill.
-- Keeps: what is not its own any more is not claimed either. Claims and in_progress_tasks are written before a line leaves todo_tasks. What an operator has ordered away stays its own until it has stopped it,
--       which the next heartbeat tells it; what was given up for such an order while it was silent is never taken again.

local worker = ARGV[1]
if not is_owner(worker, ARGV[2]) then return { 'FENCED' } end
local reply = { 'OK' }
local now = int(now_ms())
for i = 4, #ARGV, 4 do
  local line, token, attempt, class = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local owner = redis.call('HGET', IN_PROGRESS, line)
  local answer = 'kill'
  if owner == worker then
    local held, _, _, score = claim_parts(redis.call('HGET', CLAIMS, line) or '|0|0|0')
    if held ~= token then
      renew_claim(line, claim_text(token, attempt, '1', score == '0' and int(sequence(1)) or score, now))
      -- The order follows the claim.
      local mark = mark_of(line, worker)
      if mark then
        local op, _, _, rest = string.match(mark, '^(%a+)|([^|]*)|([^|]*)|(.*)$')
        redis.call('HSET', MARKS, line, op .. '|' .. worker .. '|' .. token .. '|' .. rest)
        redis.call('HSET', REVOKED, line, token)
      end
    end
    answer = 'ok'
  elseif owner or redis.call('HEXISTS', REFUSED, token .. '|' .. line) == 1 then
    answer = 'kill'
  elseif redis.call('HEXISTS', TODO, line) == 1 then
    enter_progress(worker, { line }, { claim_text(token, attempt, '1', int(sequence(1)), now) })
    index_forget(class, line)
    answer = 'back'
    events[#events + 1] = 's\t' .. attempt .. '\t' .. class .. '\t' .. brief(line)
  elseif ARGV[3] == '1' and redis.call('HEXISTS', FINISHED, line) == 0 then
    enter_progress(worker, { line }, { claim_text(token, attempt, '1', int(sequence(1)), now) })
    answer = 'ok'
    events[#events + 1] = 's\t' .. attempt .. '\t' .. class .. '\t' .. brief(line)
  end
  if answer == 'kill' then drop_claim(line, CLAIMS) end
  reply[#reply + 1] = answer
end
index_flush()
if #events > 0 then
  events[1] = 'C\t' .. worker .. '\n' .. events[1]
  events_flush()
end
return reply
