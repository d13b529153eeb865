-- An operator's edit: waiting lines become other lines, each in one step, with all that belongs to them.
--
-- Returns: for each pair edited, gone (the old line does not wait any more), taken (the new line is in the queue already, or has ended) or unsigned (the old
-- line is signed and the new one is not).
-- Guarantees: the new line waits before the old one is removed. EDITED names the old line from the first write on, with a "+" until the old one is gone, so
-- that a call that was cut short or whose reply was lost can be repeated. The new line keeps the place in the order of submission, the attempts, failures
-- and evidence, the time of a retry, the suspicion, the batches and the tags.
-- Records: ARG, EACH, in queue/records.rs.

local now = now_ms()

-- EDITED[line] = "ID,…", the ids that its task had before, the last one first.
local function began_as(line, id)
  local past = redis.call('HGET', EDITED, line) or ''
  if string.find(past, '+' .. id, 1, true) == 1 then return 'begun' end
  return string.find(past, id, 1, true) == 1 and 'done' or nil
end

local function has_ended_or_runs(line)
  for _, key in ipairs { IN_PROGRESS, FINISHED } do
    if redis.call('HEXISTS', key, line) == 1 then return true end
  end
  return false
end

-- Whether a line is anywhere: also in the other hash than it would wait in, where others may have written it.
local function is_there(line)
  for _, key in ipairs { TODO, WAITING, FAILED } do
    if redis.call('HEXISTS', key, line) == 1 then return true end
  end
  return has_ended_or_runs(line)
end

local function judge(old, old_id, new, signature)
  if not is_waiting(old) or has_ended_or_runs(old) then
    return began_as(new, old_id) == 'done' and not is_there(old) and 'edited' or 'gone'
  end
  if began_as(new, old_id) ~= 'begun' and is_there(new) then return 'taken' end
  if signature == '' and redis.call('HEXISTS', SIGNATURES, old) == 1 then return 'unsigned' end
end

-- The names or tags of one list, then what only the other has.
local function joined(list, more)
  for one in string.gmatch(more, '[^,]+') do
    if not string.find(',' .. list .. ',', ',' .. one .. ',', 1, true) then list = list == '' and one or list .. ',' .. one end
  end
  return list
end

-- Hands the batches and tags on: those of the old line come first, then those that the new one had before somebody purged it. False, and nothing is done, where
-- they are more than a line may have. The call remembers those of the old line, which say where it stands in the index.
local function succeed(old, new)
  local value = members.of(old)
  if not value then
    members.flip(new, 'o')
    members.flush()
    return true
  end
  local names, tags = string.match(value, '^%a ([^ ]*) ?(.*)$')
  local past = members.of(new)
  local _, past_names, past_tags = string.match(past or '', '^(%a) ([^ ]*) ?(.*)$')
  local all, all_tags = joined(names, past_names or ''), joined(tags, past_tags or '')
  if select(2, string.gsub(all, ',', ',')) >= 8 then return false end
  members.note(new, past or '', 'o ' .. all .. (all_tags ~= '' and ' ' .. all_tags or ''))
  if members.is_counted(old) then members.count(value, -1) end
  members.flush()
  redis.call('HDEL', MEMBER, old)
  return true
end

-- What is kept of a line under its own name, the values as they are.
local function hand_on(key, old, new)
  local value = redis.call('HGET', key, old)
  if value then redis.call('HSET', key, new, value) end
  return value
end

-- Where a waiting line stands in the index: its score, or false; of a retry or a suspect also the phase, the workers of its lane and its time. The score is
-- false too where the time of a retry was lost: then the line is indexed anew.
local function place_of(class, line)
  local held = redis.call('HGET', HELD, line)
  if held then
    local phase, score, lane = held_parts(held)
    local timers = (phase == 'D' and DELAYED) or (phase == 'X' and RETRY_ELSEWHERE)
    local due = timers and redis.call('ZSCORE', timers, line)
    if not phase or (timers and not due) then return false end
    return score, phase, select(5, lane_parts(lane)), due
  end
  local score = gates.find(class, line) or false
  for _, lane in ipairs(gates.lanes_of(class, line)) do score = score or redis.call('ZSCORE', READY .. 'c:' .. lane, line) end
  return score
end

-- Puts the new line where the old one stands.
local function index_as(old, old_class, new, class, base)
  local score, phase, workers, due = place_of(old_class, old)
  if not score then
    workers = redis.call('HGET', FAILED, new)
    index_waiting(class, new, int(tonumber(base) + sequence(1)), workers, now, 0, tonumber(ARGV[ARG.avoid]))
    return want_worker(lane_of(class, new, worker_set(workers or '')))
  end
  -- A suspect of the second level comes before all others, whatever its priority.
  local is_first = string.sub(redis.call('HGET', APART, new) or '', 1, 2) == '2|'
  score = int(is_first and tonumber(score) or tonumber(base) + tonumber(score) % 137438953472)
  if not phase or (phase == 'X' and gates.has(class) and gates.closed(new)) then
    gates.place(class, new, score)
    return want_worker(lane_of(class, new))
  end
  local lane = lane_of(class, new, workers)
  local is_new = redis.call('HSETNX', HELD, new, phase .. '|' .. score .. '|' .. lane) == 1
  if phase == 'D' then
    redis.call('ZADD', DELAYED, due, new)
    if is_new then index_delta = index_delta + 1 end
  else
    if due then redis.call('ZADD', RETRY_ELSEWHERE, due, new) end
    index_put(lane, new, score)
    want_worker(lane)
  end
end

local replies, last = {}, nil
local lines = {}
for i = ARG.size + 1, #ARGV, EACH.size do
  lines[#lines + 1] = ARGV[i + EACH.old]
  lines[#lines + 1] = ARGV[i + EACH.new]
end
members.read(lines)
-- A script that stops half-way undoes nothing, so first find out whether this user may take away what the new lines replace.
for _, key in ipairs { TODO, WAITING, SIGNATURES, EVIDENCE, EDITED, MEMBER } do redis.call('HDEL', key, '') end
for i = ARG.size + 1, #ARGV, EACH.size do
  local old, old_id, old_class = ARGV[i + EACH.old], ARGV[i + EACH.old_id], ARGV[i + EACH.old_class]
  local new, id, class, signature = ARGV[i + EACH.new], ARGV[i + EACH.id], ARGV[i + EACH.class], ARGV[i + EACH.signature]
  bring_home(old)
  local answer = judge(old, old_id, new, signature)
  if not answer then
    local past = redis.call('HGET', EDITED, old)
    local ids = string.sub(old_id .. (past and ',' .. string.gsub(past, '^%+', '') or ''), 1, 135)
    redis.call('HSET', EDITED, new, '+' .. ids)
    if succeed(old, new) then
      if signature ~= '' then redis.call('HSET', SIGNATURES, new, signature) end
      local evidence = redis.call('HGET', EVIDENCE, old_id)
      if evidence then redis.call('HSET', EVIDENCE, id, evidence) end
      for _, key in ipairs { ATTEMPTS, LOST, APART, FAILED, RETRYING, REASON } do hand_on(key, old, new) end
      local group = redis.call('HGET', KINDS, old)
      if group then
        group_put(new, group)
        if redis.call('HGET', SAMPLES, group) == old then redis.call('HSET', SAMPLES, group, new) end
      end
      -- What it declares after a kill for memory stands while the edit does not say otherwise.
      local more = grown.of(old)
      if more and string.match(old_class, '^%d+') == string.match(class, '^%d+') then grown.set(new, more) end
      wait_for(new)
      index_as(old, old_class, new, class, ARGV[i + EACH.base_score])
      index_forget(old_class, old)
      grown.drop(old)
      members.known[old] = false
      no_longer_wait { old }
      failure_clear(old)
      for _, key in ipairs { ATTEMPTS, LOST, APART, SIGNATURES, EDITED } do redis.call('HDEL', key, old) end
      redis.call('HDEL', EVIDENCE, old_id)
      redis.call('HSET', EDITED, new, ids)
      last = brief(new)
      if #events < 10 then events[#events + 1] = old_id .. '\t' .. id .. '\t' .. class .. '\t' .. last end
    else
      redis.call('HDEL', EDITED, new)
      answer = 'taken'
    end
  end
  replies[#replies + 1] = answer or 'edited'
end
index_flush()
if #events > 0 then
  local edited = 0
  for _, answer in ipairs(replies) do edited = edited + (answer == 'edited' and 1 or 0) end
  events = { 'E\t' .. int(edited) .. '\t' .. last .. '\n' .. table.concat(events, '\n', 1, edited <= 10 and #events or 1) }
  events_flush()
end
wake_idle()
return replies
