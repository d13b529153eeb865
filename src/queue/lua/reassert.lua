-- After a reconnect, and when a worker reconciles its claims: says which of the lines that a worker runs are still its own.
--
-- Returns: OK or FENCED, then for each line ok (its own), back (it was in todo, and is taken again) or kill.
-- Guarantees: a line that is not the worker's own any more loses its claim too. Claims and in_progress_tasks are written before a line leaves todo_tasks. A
-- task that an operator has ordered away stays the worker's own until the worker has stopped it, as the next heartbeat asks. A task that was given up for
-- such an order while its worker was silent is never taken again. Nor is one whose limit others have used up meanwhile: it is stopped, and waits.
-- Records: ARG, EACH, in queue/records.rs.

local worker = ARGV[ARG.worker]
if not is_owner(worker, ARGV[ARG.fence]) then return { 'FENCED' } end
local reply = { 'OK' }
local now = int(now_ms())
for i = ARG.size + 1, #ARGV, EACH.size do
  local line, token, attempt, class = ARGV[i + EACH.line], ARGV[i + EACH.token], ARGV[i + EACH.attempt], ARGV[i + EACH.class]
  local owner = redis.call('HGET', IN_PROGRESS, line)
  shares.note(line, class)
  local answer = 'kill'
  if owner == worker then
    local held, _, _, score = claim_parts(redis.call('HGET', CLAIMS, line) or '|0|0|0')
    if held ~= token then
      renew_claim(line, claim_text(token, attempt, '1', score == '0' and int(sequence(1)) or score, now))
      -- The operator's order moves to the new token.
      local mark = mark_of(line, worker)
      if mark then
        local op, _, _, rest = string.match(mark, '^(%a+)|([^|]*)|([^|]*)|(.*)$')
        redis.call('HSET', MARKS, line, op .. '|' .. worker .. '|' .. token .. '|' .. rest)
        redis.call('HSET', REVOKED, line, token)
      end
    end
    limits.enter(worker, { line })
    answer = 'ok'
  elseif owner or redis.call('HEXISTS', REFUSED, token .. '|' .. line) == 1 then
    answer = 'kill'
  elseif is_waiting(line) and limits.may_return(line) then
    enter_progress(worker, { line }, { claim_text(token, attempt, '1', int(sequence(1)), now) })
    members.flip(line, 'o')
    index_forget(class, line)
    answer = 'back'
    events[#events + 1] = 's\t' .. attempt .. '\t' .. class .. '\t' .. brief(line)
  elseif ARGV[ARG.data_lost] == '1' and not is_waiting(line) and redis.call('HEXISTS', FINISHED, line) == 0 then
    enter_progress(worker, { line }, { claim_text(token, attempt, '1', int(sequence(1)), now) })
    members.flip(line, 'o')
    answer = 'ok'
    events[#events + 1] = 's\t' .. attempt .. '\t' .. class .. '\t' .. brief(line)
  end
  if answer == 'kill' then
    -- It counts against its limits until the worker has said that nothing of it runs.
    if not owner and limits.of(line) then redis.call('HSET', REVOKED, line, token) end
    drop_claim(line, CLAIMS)
  end
  reply[#reply + 1] = answer
end
members.flush()
index_flush()
if #events > 0 then
  events[1] = 'C\t' .. worker .. '\n' .. events[1]
  events_flush()
end
return reply
