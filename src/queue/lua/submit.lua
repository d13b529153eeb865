-- Adds task lines to where they wait, and to the index or behind their gates; those with a name become members of that batch.
--
-- If the first value of the reply is -1, the queue has another field order, and nothing was done.
-- Guarantees: added first, removed last; the call is safe to repeat. A signature is stored before its line. A line that waits or runs already gets the new
-- signature, so that a line that was queued unsigned can still run where signatures are required. A line that is being purged, or with `rerun` cancelled,
-- is added: it waits from the end of the attempt that is being stopped. Membership and its counters are written before the lines. A line that is there
-- already joins the batch as what it is: one that waits or runs is open, one that has finished is done, one out of retries is given up.
-- Records: ARG, EACH, REPLY, in queue/records.rs.

local rerun = ARGV[ARG.rerun] == '1'
-- Without lines, the call only finds out whether this user may submit: nothing is recorded.
local blocked, crowded = 0, 0
local function reply(added, queued, running, finished, failed)
  return {
    [REPLY.added] = added, [REPLY.queued] = queued, [REPLY.running] = running, [REPLY.finished] = finished, [REPLY.failed] = failed,
    [REPLY.blocked] = blocked, [REPLY.crowded] = crowded,
  }
end
if #ARGV > ARG.size and not order_agrees(ARGV[ARG.order]) then return reply(-1, 0, 0, 0, 0) end
-- The batch of line i and its tags, and the value of a member by its flag: once for all lines that belong to the same.
local names_of, belongs = {}, {}
for i = 1, (#ARGV - ARG.size) / EACH.size do
  local text = ARGV[ARG.size + EACH.size * (i - 1) + 1 + EACH.belongs]
  if text ~= '' then
    local known = names_of[text]
    if not known then
      local name, tags = string.match(text, '^([^ ]*) ?(.*)$')
      local rest = ' ' .. name .. (tags ~= '' and ' ' .. tags or '')
      known = { name = name, tags = tags, o = 'o' .. rest, d = 'd' .. rest, x = 'x' .. rest }
      names_of[text] = known
    end
    belongs[i] = known
  end
end
local submission = ARGV[ARG.submission]
if next(names_of) then members.begin() end
-- The submission was closed by somebody, or never begun: what it adds would be of a batch that counts as complete.
if submission ~= '' then
  local fields = {}
  for _, one in pairs(names_of) do fields[members.top(one.name) .. '\t' .. submission] = true end
  for field in pairs(fields) do
    local started = string.match(redis.call('HGET', BATCH_SUBMITS, field) or '', '^(%d+):')
    if not started then return reply(-2, 0, 0, 0, 0) end
    fields[field] = { started, string.match(redis.call('HGET', BATCH_SUBMITS, field), ':s$') or '' }
  end
  local now = int(math.floor(now_ms() / 1000))
  for field, was in pairs(fields) do redis.call('HSET', BATCH_SUBMITS, field, was[1] .. ':' .. now .. was[2]) end
end
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
members.read(lines)
grown.read(lines)
local function joins(i, line, flag)
  local to = belongs[i]
  if not to then return end
  if not members.of(line) then return members.note(line, '', to[flag]) end
  if not members.join(line, flag, to.name, to.tags) then crowded = crowded + 1 end
  members.flip(line, flag)
end
local first, last
local seen, todo, waiting, cleared, signatures, new = {}, {}, {}, {}, {}, {}
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
    joins(i, line, 'o')
  elseif in_todo[i] or seen[line] then
    queued = queued + 1
    sign(i, line)
    -- One that joins its first batch is to change its lane, which takes rights that a submitter need not have: release.lua does it.
    if belongs[i] and not seen[line] and not members.of(line) then redis.call('ZADD', READY .. 'moves', 0, ARGV[at(i) + EACH.class] .. '\t' .. line) end
    joins(i, line, 'o')
  else
    local is_finished = has_finished and redis.call('HEXISTS', FINISHED, line) == 1
    local is_failed = in_failed and in_failed[i]
    if not rerun and (is_finished or is_failed) then
      if is_finished then finished = finished + 1 else failed = failed + 1 end
      joins(i, line, is_finished and 'd' or 'x')
    else
      seen[line] = true
      local at_home = home(line) == WAITING and waiting or todo
      at_home[#at_home + 1] = line
      at_home[#at_home + 1] = ''
      first, last = first or line, line
      sign(i, line)
      members.flip(line, 'o')
      joins(i, line, 'o')
      new[#new + 1] = { line, ARGV[at(i) + EACH.class], tonumber(ARGV[at(i) + EACH.base_score]) + seq }
      added = added + 1
      if is_finished or is_failed then cleared[#cleared + 1] = { line, is_finished, is_failed } end
    end
  end
  seq = seq + 1
end
-- A gate may open on what ended before it was a member; a worker looks, since that takes rights that a submitter need not have.
members.flush(function(names)
  for _, ended in ipairs(names) do
    redis.call('SADD', READY .. 'due:' .. members.top(ended), ended)
    redis.call('ZADD', READY .. 'opening', 0, 'd:' .. members.top(ended))
  end
end)
bulk('HSET', SIGNATURES, signatures)
bulk('HSET', TODO, todo)
bulk('HSET', WAITING, waiting)
local lanes, filed, gated, blocked_of = {}, {}, {}, {}
local has_gates, with_gates = {}, {}
for _, one in ipairs(new) do
  local class = one[2]
  if has_gates[class] == nil then has_gates[class] = gates.has(class) end
  if has_gates[class] then with_gates[#with_gates + 1] = one[1] end
end
gates.read(with_gates)
for _, one in ipairs(new) do
  local line, class, score = one[1], one[2], one[3]
  local lane = lane_of(class, line)
  local gate = has_gates[class] and gates.closed(line)
  if gate then
    local batch = members.batch_of(line)
    local name = gate .. ' ' .. batch
    local behind = gated[name]
    if not behind then
      behind = { gate = gate, batch = batch, pairs = {} }
      gated[name] = behind
      filed[#filed + 1] = behind
    end
    local n = #behind.pairs
    behind.pairs[n + 1], behind.pairs[n + 2] = int(score), lane .. '\t' .. line
    blocked = blocked + 1
    blocked_of[batch] = (blocked_of[batch] or 0) + 1
  else
    local at_once = lanes[lane]
    if not at_once then
      at_once = { pairs = {}, least = score }
      lanes[lane] = at_once
    end
    if score < at_once.least then at_once.least = score end
    at_once.pairs[#at_once.pairs + 1] = int(score)
    at_once.pairs[#at_once.pairs + 1] = line
    want_worker(lane)
  end
end
for lane, at_once in pairs(lanes) do index_put_all(lane, at_once.pairs, at_once.least) end
if #filed > 0 then gates.file(filed) end
for _, clear in ipairs(cleared) do
  if clear[2] then redis.call('HDEL', FINISHED, clear[1]) end
  if clear[3] then failure_clear(clear[1]) end
end
index_flush()
if added > 0 then
  -- See spread.lua.
  redis.call('ZADD', READY .. 'submitted', int(seq - 1), redis.call('TIME')[1])
  first, last = first or lines[1], last or lines[#lines]
  events[1] = 'A\tsubmitted\t' .. int(added) .. '\t' .. brief(first) .. '\t' .. brief(last)
  for batch, number in pairs(blocked_of) do events[#events + 1] = 'B\tblocked\t' .. batch .. '\t' .. int(number) end
  events_flush()
end
wake_idle()
return reply(added, queued, running, finished, failed)
