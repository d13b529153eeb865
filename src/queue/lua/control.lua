-- An operator's change to lines, wherever they are.
--
-- Guarantees: a task that one of our workers has claimed is marked and stays in progress. Its worker is told through REVOKED_OF .. worker and a message. The
-- order is carried out when the process tree of the task is gone, and no result of that attempt is recorded. A later order replaces an earlier one, but
-- nothing brings back a task that is being purged. A task that no worker of ours has claimed, such as a Python worker's, changes at once: added first,
-- removed last. A line that has left the state in which it was selected is passed over.
-- Records: ARG, EACH, REPLY, in queue/records.rs.

local op, selected = ARGV[ARG.op], ARGV[ARG.selected]
local changed, stopping, freed = 0, 0, 0

-- Many lines at once are one event with their number, the first and the last: a purge of a million must not displace all other events.
local named, last = {}, nil
local function changes(line, id, class, worker)
  changed = changed + 1
  last = brief(line)
  if changed <= 10 then named[changed] = (worker or '') .. '\t' .. id .. '\t' .. class .. '\t' .. last end
end

-- The record of an attempt that is cut short: the record of the cancellation with the worker and the number of the attempt.
local function cut_short(worker, claim, record)
  local _, attempt = claim_parts(claim)
  record = string.gsub(record, '"a":0', '"a":' .. attempt, 1)
  return (string.gsub(record, '"w":"[^"]*"', '"w":"' .. worker .. '"', 1))
end

-- Marks a claimed task. Returns false for a purge on a server without the memory for the mark.
local function order(line, worker, token, mark)
  local write = op == 'purge' and redis.pcall or redis.call
  for _, entry in ipairs { { MARKS, mark }, { REVOKED_OF .. worker, token } } do
    local done = write('HSET', entry[1], line, entry[2])
    if type(done) == 'table' and done.err then return false end
  end
  redis.call('PUBLISH', WAKE, 'beat:' .. worker)
  return true
end

local lines = {}
for i = ARG.size + 1, #ARGV, EACH.size do lines[#lines + 1] = ARGV[i + EACH.line] end
members.read(lines)
grown.read(lines)
for i = ARG.size + 1, #ARGV, EACH.size do
  local line, id, class, score, record = ARGV[i + EACH.line], ARGV[i + EACH.id], ARGV[i + EACH.class], ARGV[i + EACH.base_score], ARGV[i + EACH.record]
  local worker = redis.call('HGET', IN_PROGRESS, line)
  bring_home(line)
  local is_todo = is_waiting(line)
  local is_finished = redis.call('HEXISTS', FINISHED, line) == 1
  local is_failed = redis.call('HEXISTS', FAILED, line) == 1
  local is_cancelled = is_failed and selected ~= '' and redis.call('HGET', KINDS, line) == GROUP.cancelled
  local is_selected = selected == ''
    or (selected == 'todo' and is_todo) or (selected == 'in_progress' and worker)
    or (selected == 'finished' and is_finished) or (selected == 'failed' and is_failed and not is_cancelled)
    or (selected == 'cancelled' and is_cancelled)
  local claim = worker and redis.call('HGET', CLAIMS_OF .. worker, line)
  local token = claim and claim_parts(claim)
  local earlier = token and mark_of(line, worker, token)
  if op == 'give_up' then
    if is_todo and not worker and class ~= '' then
      give_up(line, class, ARGV[ARG.reason], ARGV[ARG.group])
      changes(line, id, class)
    end
  elseif line == STOP_FIELD or not is_selected then
    -- not selected
  elseif op == 'requeue' and (class == '' or not (worker or is_finished or is_failed)) then
    -- it waits already, or is no task
  elseif op == 'cancel' and not (is_todo or worker) then
    -- it has ended
  elseif earlier and op ~= 'purge' and string.sub(earlier, 1, 6) == 'purge|' then
    -- it is being purged
  else
    if claim then record = cut_short(worker, claim, record) end
    if op == 'purge' or (op == 'requeue' and not worker) then record = '' end
    local mark = table.concat({ op, worker or '', token or '', id, class, score, record }, '|')
    if token and order(line, worker, token, mark) then
      stopping = stopping + 1
      -- Others have put the line in todo as well: it must not start now.
      if is_todo and op ~= 'requeue' then
        if class ~= '' then index_forget(class, line) end
        no_longer_wait { line }
      end
    else
      carry_out(line, mark, worker and CLAIMS_OF .. worker)
      if worker then freed = freed + 1 end
    end
    changes(line, id, class, worker)
  end
end
members.flush(turns.at_zero)
index_flush()
if changed > 0 then
  events[1] = 'K\t' .. op .. '\t' .. int(changed) .. '\t' .. int(stopping + freed) .. '\t' .. last
  events[2] = changed <= 10 and table.concat(named, '\n') or named[1]
  if ARGV[ARG.by] ~= '' then events[3] = 'U\t' .. ARGV[ARG.by] end
  events_flush()
end
wake_idle()
return { [REPLY.changed] = changed, [REPLY.stopping] = stopping, [REPLY.freed] = freed }
