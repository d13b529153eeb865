-- Adds a batch of task lines to where they wait, and to the index.
--
-- If the first value of the reply is -1, the queue has another field order, and nothing was done.
-- Guarantees: added first, removed last; the call is safe to repeat. A signature is stored before its line. A line that waits or runs already gets the new
-- signature, so that a line that was queued unsigned can still run where signatures are required. A line that is being purged, or with `rerun` cancelled,
-- is added: it waits from the end of the attempt that is being stopped.
-- Records: ARG, EACH, REPLY, in queue/records.rs.

local rerun = ARGV[ARG.rerun] == '1'
-- Without lines, the call only finds out whether this user may submit: nothing is recorded.
local function reply(added, queued, running, finished, failed)
  return {
    [REPLY.added] = added, [REPLY.queued] = queued, [REPLY.running] = running, [REPLY.finished] = finished, [REPLY.failed] = failed,
  }
end
if #ARGV > ARG.size and not order_agrees(ARGV[ARG.order]) then return reply(-1, 0, 0, 0, 0) end
-- A script that stops half-way undoes nothing, so first find out whether this user may delete results.
if rerun then redis.call('HDEL', FINISHED, '') end
local lines = {}
for i = ARG.size + 1, #ARGV, EACH.size do lines[#lines + 1] = ARGV[i + EACH.line] end
local seq = sequence(#lines)
local added, queued, running, finished, failed = 0, 0, 0, 0, 0
-- Few calls for many lines. The values of FINISHED can be large, so lines are looked up there one by one, if it has any.
local in_todo, in_progress, in_failed = waiting_of(lines), nil, nil
if redis.call('HLEN', IN_PROGRESS) > 0 then in_progress = get_all(IN_PROGRESS, lines) end
if redis.call('HLEN', FAILED) > 0 then in_failed = get_all(FAILED, lines) end
local has_finished = redis.call('HLEN', FINISHED) > 0
local first, last
local seen, todo, waiting, classes, cleared, signatures = {}, {}, {}, {}, {}, {}
-- The position of the first argument of line i.
local function at(i) return ARG.size + EACH.size * (i - 1) + 1 end
local function sign(i, line)
  local signature = ARGV[at(i) + EACH.signature]
  if signature == '' then return end
  signatures[#signatures + 1] = line
  signatures[#signatures + 1] = signature
end
local has_marks = in_progress and redis.call('HLEN', MARKS) > 0
local function is_added_again(i, line)
  local mark = has_marks and mark_of(line, in_progress[i])
  if not mark then return false end
  local op, worker, token, id, _, _, record = mark_parts(mark)
  if op ~= 'purge' and not (rerun and op == 'cancel') then return false end
  redis.call('HSET', MARKS, line, table.concat({ 'requeue', worker, token, id, ARGV[at(i) + EACH.class], ARGV[at(i) + EACH.base_score], record }, '|'))
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
      local at_home = home(line) == WAITING and waiting or todo
      at_home[#at_home + 1] = line
      at_home[#at_home + 1] = ''
      first, last = first or line, line
      sign(i, line)
      local name, score = ARGV[at(i) + EACH.class], tonumber(ARGV[at(i) + EACH.base_score]) + seq
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
bulk('HSET', WAITING, waiting)
for name, class in pairs(classes) do index_put_all(name, class.pairs, class.least) end
for _, clear in ipairs(cleared) do
  if clear[2] then redis.call('HDEL', FINISHED, clear[1]) end
  if clear[3] then failure_clear(clear[1]) end
end
index_flush()
if added > 0 then
  first, last = first or lines[1], last or lines[#lines]
  events[1] = 'A\tsubmitted\t' .. int(added) .. '\t' .. brief(first) .. '\t' .. brief(last)
  events_flush()
end
wake_idle()
return reply(added, queued, running, finished, failed)
