-- An operator's change to lines, wherever they are.
--
-- ARGV: 1 "requeue", "cancel" or "purge", 2 the state they were selected in ("todo", "in_progress", "finished", "failed", or "" for any),
--       then for each line five: line, task id, class "MEM:CPU:" ("" when the line is not a task), score without sequence, record of the cancellation.
-- Returns: how many were changed, how many of those were running.
-- Keeps: what is added is added first. A running task's worker is told through REVOKED_OF .. worker and a message; its result is refused from here on.
--       A line that left the state it was selected in is passed over.

local op, selected = ARGV[1], ARGV[2]
local changed, running = 0, 0

-- Many at once are one event with their number, the first and the last; a purge of a million must not push out all the rest.
local named, last = {}, nil
local function changes(line, id, class, worker)
  changed = changed + 1
  last = brief(line)
  if changed <= 10 then named[changed] = (worker or '') .. '\t' .. id .. '\t' .. class .. '\t' .. last end
end

-- The record of an attempt that is cut short: the operator's, with the worker and the number of the attempt.
local function cut_short(worker, line, record)
  local claim = redis.call('HGET', CLAIMS_OF .. worker, line)
  if not claim then return record end
  local _, attempt = claim_parts(claim)
  record = string.gsub(record, '"a":0', '"a":' .. attempt, 1)
  return (string.gsub(record, '"w":"[^"]*"', '"w":"' .. worker .. '"', 1))
end

local function revoke(worker, line)
  local claims = CLAIMS_OF .. worker
  if redis.call('HEXISTS', claims, line) == 1 then
    if op ~= 'purge' then
      redis.call('HSET', REVOKED_OF .. worker, line, '1')
    else
      redis.pcall('HSET', REVOKED_OF .. worker, line, '1')
    end
    redis.call('HDEL', claims, line)
  end
  redis.call('HDEL', INP, line)
  redis.call('PUBLISH', WAKE, 'beat:' .. worker)
  running = running + 1
end

for i = 3, #ARGV, 5 do
  local line, id, class = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local worker = redis.call('HGET', INP, line)
  local is_todo = redis.call('HEXISTS', TODO, line) == 1
  local is_finished = redis.call('HEXISTS', FINISHED, line) == 1
  local is_failed = redis.call('HEXISTS', FAILED, line) == 1
  local is_selected = selected == ''
    or (selected == 'todo' and is_todo) or (selected == 'in_progress' and worker)
    or (selected == 'finished' and is_finished) or (selected == 'failed' and is_failed)
  if line == CLOSE then
    is_selected = false
  end
  if is_selected and op == 'requeue' then
    if class ~= '' and (worker or is_finished or is_failed) then
      want_worker(class)
      if not is_todo then
        redis.call('HSET', TODO, line, '')
        index_forget(class, line)
        index_put(class, line, int(tonumber(ARGV[i + 3]) + sequence(1)))
      elseif is_failed then
        -- Its failures are forgotten: it leaves the class that some workers pass over.
        index_forget(class, line)
        index_put(class, line, int(tonumber(ARGV[i + 3]) + sequence(1)))
      end
      if worker then evidence_add(id, cut_short(worker, line, ARGV[i + 4])) end
      local past = redis.call('HGET', EVIDENCE, id)
      if past then redis.call('HSET', ATTEMPTS, line, select(2, string.gsub(past, '\n', '\n')) + 1) end
      redis.call('HDEL', LOST, line)
      if worker then revoke(worker, line) end
      if is_finished then redis.call('HDEL', FINISHED, line) end
      if is_failed then failure_clear(line) end
      changes(line, id, class, worker)
    end
  elseif is_selected and op == 'cancel' then
    if is_todo or worker then
      redis.call('HSET', FAILED, line, redis.call('HGET', FAILED, line) or '')
      redis.call('HSET', REASON, line, '"cancelled"')
      group_put(line, 'cancelled')
      evidence_add(id, worker and cut_short(worker, line, ARGV[i + 4]) or ARGV[i + 4])
      redis.call('HDEL', ATTEMPTS, line)
      redis.call('HDEL', LOST, line)
      if worker then revoke(worker, line) end
      if is_todo then
        if class ~= '' then index_forget(class, line) end
        redis.call('HDEL', TODO, line)
      end
      changes(line, id, class, worker)
    end
  elseif is_selected and op == 'purge' then
    if worker then revoke(worker, line) end
    if is_todo and class ~= '' then index_forget(class, line) end
    group_drop(line)
    for _, key in ipairs { TODO, FINISHED, FAILED, REASON, LOST, ATTEMPTS, QUARANTINE, SIGNATURES } do redis.call('HDEL', key, line) end
    redis.call('HDEL', EVIDENCE, id)
    changes(line, id, class, worker)
  end
end
index_flush()
if changed > 0 then
  events[1] = 'K\t' .. op .. '\t' .. int(changed) .. '\t' .. int(running) .. '\t' .. last
  events[2] = changed <= 10 and table.concat(named, '\n') or named[1]
  events_flush()
end
wake_idle()
return { changed, running }
