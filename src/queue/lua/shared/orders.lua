-- Carrying out an operator's order.

-- Does what an order says to a task that no process runs any more: what is added is added first. Its claim and its mark go last.
local function carry_out(line, mark, claims, revoked)
  local op, _, _, id, class, score, record = mark_parts(mark)
  if has_suspects() then redis.call('HDEL', APART, line) end
  if op == 'requeue' then
    turns.forgive(line)
    members.flip(line, 'o')
    members.flush(turns.at_zero)
    -- Its failures are forgotten: it leaves the class that some workers pass over.
    index_forget(class, line)
    grown.drop(line)
    put_back(line, class, int(tonumber(score) + sequence(1)))
    if record ~= '' then evidence_add(id, record) end
    local past = redis.call('HGET', EVIDENCE, id)
    if past then redis.call('HSET', ATTEMPTS, line, select(2, string.gsub(past, '\n', '\n')) + 1) end
    redis.call('HDEL', LOST, line)
    redis.call('HDEL', FINISHED, line)
    failure_clear(line)
  else
    if op == 'cancel' then
      redis.call('HSET', FAILED, line, redis.call('HGET', FAILED, line) or '')
      redis.call('HSET', REASON, line, '"cancelled"')
      group_put(line, GROUP.cancelled)
      members.flip(line, 'x')
      if record ~= '' then evidence_add(id, record) end
    else
      -- What had finished is not missed; what had not must never open a gate.
      local member = members.parts_of(line)
      if member and member.flag == 'd' then members.forget(line) else members.flip(line, 'g') end
      group_drop(line)
      for _, key in ipairs { FINISHED, FAILED, REASON, QUARANTINE, SIGNATURES } do redis.call('HDEL', key, line) end
      redis.call('HDEL', EVIDENCE, id)
    end
    redis.call('HDEL', ATTEMPTS, line)
    redis.call('HDEL', LOST, line)
    is_not_retried(line)
    if class ~= '' then index_forget(class, line) end
    grown.drop(line)
    no_longer_wait { line }
  end
  leave_progress({ line }, claims)
  if revoked then redis.call('HDEL', revoked, line) end
  redis.call('HDEL', MARKS, line)
end
