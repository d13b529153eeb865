-- Adds a batch of task lines to todo_tasks and to the index.
--
-- ARGV: 1 "1" to add those already finished or out of retries too, 2 "1" when the lines are signed, 3 the field order in which they were read, then for each line three, or four where they
--       are signed: line, class ("MEM:CPU:"), score without sequence, that is (65535 - priority) * 2^37, signature.
-- Returns: how many were added, already queued, running, finished, failed; -1 first when the queue has another field order: nothing was done.
-- Keeps: what is added is added before anything is removed; repeating the call is safe. A signature is there before its line; a line that waits or
--       runs already gets the new one, so that a line once queued unsigned can still run where signatures are required. One that is being purged, or with
--       rerun cancelled, is added: it waits from the end of the attempt that is being stopped.

local rerun = ARGV[1] == '1'
-- With no line it is only asked whether this user may: nothing is recorded.
if #ARGV > 3 and not order_agrees(ARGV[3]) then return { -1, 0, 0, 0, 0 } end
-- Nothing is undone when a script stops half-way: whether this user may take results away is found out first.
if rerun then redis.call('HDEL', FINISHED, '') end
local lines = {}
local is_signed = ARGV[2] == '1'
local step = is_signed and 4 or 3
for i = 4, #ARGV, step do lines[#lines + 1] = ARGV[i] end
local seq = sequence(#lines)
local added, queued, running, finished, failed = 0, 0, 0, 0, 0
-- Few calls for many lines; the values of FINISHED are not small, so it is asked line by line, if it holds any.
local in_todo, in_progress, in_failed = get_all(TODO, lines), nil, nil
if redis.call('HLEN', IN_PROGRESS) > 0 then in_progress = get_all(IN_PROGRESS, lines) end
if redis.call('HLEN', FAILED) > 0 then in_failed = get_all(FAILED, lines) end
local has_finished = redis.call('HLEN', FINISHED) > 0
local seen, todo, classes, cleared, signatures = {}, {}, {}, {}, {}
-- The arguments of line i begin after this many.
local function before(i) return step * (i - 1) + 3 end
local function sign(i, line)
  if not is_signed then return end
  signatures[#signatures + 1] = line
  signatures[#signatures + 1] = ARGV[before(i) + 4]
end
local has_marks = in_progress and redis.call('HLEN', MARKS) > 0
local function is_added_again(i, line)
  local mark = has_marks and mark_of(line, in_progress[i])
  if not mark then return false end
  local op, worker, token, id, _, _, record = mark_parts(mark)
  if op ~= 'purge' and not (rerun and op == 'cancel') then return false end
  redis.call('HSET', MARKS, line, table.concat({ 'requeue', worker, token, id, ARGV[before(i) + 2], ARGV[before(i) + 3], record }, '|'))
  return true
end
for i, line in ipairs(lines) do
  if in_progress and in_progress[i] then
    if is_added_again(i, line) then added = added + 1 else running = running + 1 end
    sign(i, line)
  elseif in_todo[i] or seen[line] then
    queued = queued + 1
    sign(i, line)
  else
    local is_finished = has_finished and redis.call('HEXISTS', FINISHED, line) == 1
    local is_failed = in_failed and in_failed[i]
    if not rerun and (is_finished or is_failed) then
      if is_finished then finished = finished + 1 else failed = failed + 1 end
    else
      seen[line] = true
      todo[#todo + 1] = line
      todo[#todo + 1] = ''
      sign(i, line)
      local name, score = ARGV[before(i) + 2], tonumber(ARGV[before(i) + 3]) + seq
      local class = classes[name]
      if not class then
        class = { pairs = {}, least = score }
        classes[name] = class
      end
      if score < class.least then class.least = score end
      class.pairs[#class.pairs + 1] = int(score)
      class.pairs[#class.pairs + 1] = line
      want_worker(name)
      added = added + 1
      if is_finished or is_failed then cleared[#cleared + 1] = { line, is_finished, is_failed } end
    end
  end
  seq = seq + 1
end
bulk('HSET', SIGNATURES, signatures)
bulk('HSET', TODO, todo)
for name, class in pairs(classes) do index_put_all(name, class.pairs, class.least) end
for _, clear in ipairs(cleared) do
  if clear[2] then redis.call('HDEL', FINISHED, clear[1]) end
  if clear[3] then failure_clear(clear[1]) end
end
index_flush()
if added > 0 then
  local first, last = todo[1] or lines[1], todo[#todo - 1] or lines[#lines]
  events[1] = 'A\tsubmitted\t' .. int(added) .. '\t' .. brief(first) .. '\t' .. brief(last)
  events_flush()
end
wake_idle()
return { added, queued, running, finished, failed }
