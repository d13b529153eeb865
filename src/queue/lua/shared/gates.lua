-- Gates: a line with after=NAME or afterany=NAME waits behind a gate while NAME is not done, and one with begin=SECONDS until then.
--
-- A gate is judged by level, not by edge: it is open exactly while NAME has no open member, no submission under way and, for after, nothing given up or
-- gone; or while NAME is waived. What is not known is closed, so that no gate ever opens because something vanished. A blocked line is filed under one closed
-- gate at a time: READY .. GATE is a sorted set of LANE .. "\t" .. LINE with the score that the line has in its lane. GATE is "b:NAME" for after, "k:NAME"
-- for after where the batch of the line is given up with NAME, "a:NAME" for afterany, and "b:@SECONDS" for begin. READY .. "gates" are the gates that hold
-- something, READY .. "gated" how many lines of each batch they hold. A gate that opens is added to READY .. "opening", and emptied in bounded steps.

local gates = { states = {}, of_killed = {}, of_needs = {}, of_lines = {}, parts = {} }

-- Whether a class or a lane has gates: its needs have the word "after".
function gates.are_among(needs) return needs == 'after' or string.find(',' .. needs .. ',', ',after,', 1, true) ~= nil end
function gates.has(class) return gates.are_among(string.match(class, '^%d+:%d+:([^:]*):') or '') end

-- Whether what waits for a name need not. The steps of a batch that is waived keep their order.
function gates.is_waived(name)
  if gates.any_waived == nil then gates.any_waived = redis.call('HLEN', BATCH_WAIVED) > 0 end
  return gates.any_waived and redis.call('HEXISTS', BATCH_WAIVED, name) == 1
end

-- Looks up what is known of many names in few calls, once each.
function gates.know(names)
  local unknown, fields = {}, {}
  for _, name in ipairs(names) do
    if not gates.states[name] then
      if gates.is_waived(name) then
        gates.states[name] = 'done'
      else
        gates.states[name] = 'unknown'
        local at = #fields
        unknown[#unknown + 1] = name
        fields[at + 1], fields[at + 2], fields[at + 3] = name, name .. '!', members.top(name) .. '+'
      end
    end
  end
  if #unknown == 0 or not members.are_whole() then return end
  local n = get_all(BATCH_N, fields)
  for i, name in ipairs(unknown) do
    local open, bad, adding = n[3 * i - 2], n[3 * i - 1], n[3 * i]
    if open and open ~= '0' then gates.states[name] = 'open'
    elseif open and tonumber(adding or '0') > 0 then gates.states[name] = 'adding'
    elseif open then gates.states[name] = tonumber(bad or '0') > 0 and 'failed' or 'done' end
  end
end

-- What is known of a name: "done", "failed" (ended, and something was given up), "adding" (ended but for a submission under way), "open", or "unknown".
function gates.state(name)
  if not gates.states[name] then gates.know { name } end
  return gates.states[name]
end

-- The kind of a gate, its name, and its second if it opens by time. There may be thousands of lines behind one gate.
function gates.take_apart(gate)
  local parts = gates.parts[gate]
  if not parts then
    local name = string.sub(gate, 3)
    parts = { kind = string.sub(gate, 1, 1), name = name, seconds = string.byte(name) == 64 and tonumber(string.sub(name, 2)) or nil }
    gates.parts[gate] = parts
  end
  return parts
end

-- Whether a gate is open.
function gates.is_open(gate)
  local parts = gates.take_apart(gate)
  if parts.seconds then return now_ms() >= parts.seconds * 1000 end
  local state = gates.state(parts.name)
  return state == 'done' or (state == 'failed' and parts.kind == 'a')
end

-- Whether the tasks of a batch are given up when what they wait for fails.
function gates.kills(batch)
  if batch == '' then return false end
  if gates.of_killed[batch] == nil then
    local record = redis.call('HGET', BATCHES, batch)
    gates.of_killed[batch] = record and string.find(record, '"kill_on_invalid_dep":true', 1, true) ~= nil
  end
  return gates.of_killed[batch]
end

-- All gates of a line.
function gates.of(line)
  local all = gates.of_lines[line]
  if all then return all end
  local needs = string.match(line, '^%a+,([^:]*):') or ''
  local after = needs ~= '' and gates.kills(members.batch_of(line)) and 'k:' or 'b:'
  all = gates.of_needs[after .. needs]
  if not all then
    local only = string.match(needs, '^after=([^,]*)$')
    all = { only and after .. only }
    for key, value in string.gmatch(only and '' or needs, '([^,=]+)=([^,]*)') do
      if key == 'after' then all[#all + 1] = after .. value
      elseif key == 'afterany' then all[#all + 1] = 'a:' .. value
      elseif key == 'begin' then all[#all + 1] = 'b:@' .. value end
    end
    gates.of_needs[after .. needs] = all
  end
  gates.of_lines[line] = all
  return all
end

-- Whether a gate is one of those that a line has now.
function gates.is_of(gate, line)
  for _, own in ipairs(gates.of(line)) do
    if own == gate then return true end
  end
  return false
end

-- Looks up the gates of many lines in few calls.
function gates.read(lines)
  members.read(lines)
  local names = {}
  for _, line in ipairs(lines) do
    for _, gate in ipairs(gates.of(line)) do
      local parts = gates.take_apart(gate)
      if not parts.seconds then names[#names + 1] = parts.name end
    end
  end
  gates.know(names)
end

-- The first gate of a line that is closed; nil when it may run.
function gates.closed(line)
  for _, gate in ipairs(gates.of(line)) do
    if not gates.is_open(gate) then return gate end
  end
end

-- Files lines behind gates that are closed: of each gate and batch the scores and LANE .. "\t" .. LINE in turns.
function gates.file(all)
  local added, holding = {}, {}
  for _, one in ipairs(all) do
    local n = bulk('ZADD', READY .. one.gate, one.pairs, 'NX')
    added[one.batch] = (added[one.batch] or 0) + n
    index_delta = index_delta + n
    holding[#holding + 1] = one.gate
    local parts = gates.take_apart(one.gate)
    if parts.seconds then
      redis.call('ZADD', READY .. 'times', int(parts.seconds), one.gate)
    elseif gates.states[parts.name] == 'adding' then
      redis.call('SADD', READY .. 'due:' .. members.top(parts.name), parts.name)
    elseif parts.kind == 'k' and gates.states[parts.name] == 'failed' then
      redis.call('ZADD', READY .. 'chores', 0, one.gate)
    end
  end
  bulk('SADD', READY .. 'gates', holding)
  for batch, n in pairs(added) do
    if n > 0 then redis.call('HINCRBY', READY .. 'gated', batch, int(n)) end
  end
end

-- Puts a line into its lane, or behind a gate of its own that is closed.
function gates.place(class, line, score)
  local lane = lane_of(class, line)
  local gate = gates.has(class) and gates.closed(line)
  if gate then gates.file { { gate = gate, batch = members.batch_of(line), pairs = { score, lane .. '\t' .. line } } } else index_put(lane, line, score) end
end

-- The lanes that a line may stand in: one that joined its first batch while it waited stands in that of no batch until it is moved (release.lua). One that
-- declares more memory than it says may stand where its own figure puts it, if others have indexed it.
function gates.lanes_of(class, line)
  local lane, plain = lane_of(class, line), grown.class(class, line) .. ':'
  local lanes = lane == plain and { plain } or { lane, plain }
  if grown.of(line) then
    lanes[#lanes + 1] = class .. members.batch_of(line) .. ':'
    if lane ~= plain then lanes[#lanes + 1] = class .. ':' end
  end
  return lanes
end

-- The score of a line behind one of its gates, the gate and its lane; nil for a line that is behind none.
function gates.find(class, line)
  if not gates.has(class) then return nil end
  for _, gate in ipairs(gates.of(line)) do
    -- It may have been filed before its batch was asked to be given up, or after that was taken back.
    local other = string.gsub(gate, '^[bk]:', { ['b:'] = 'k:', ['k:'] = 'b:' })
    for _, at in ipairs(other == gate and { gate } or { gate, other }) do
      for _, lane in ipairs(gates.lanes_of(class, line)) do
        local score = redis.call('ZSCORE', READY .. at, lane .. '\t' .. line)
        if score then return score, at, lane end
      end
    end
  end
end

-- Takes a line from behind its gate.
function gates.leave(class, line)
  local score, gate, lane = gates.find(class, line)
  if not score then return end
  redis.call('ZREM', READY .. gate, lane .. '\t' .. line)
  redis.call('HINCRBY', READY .. 'gated', (select(4, lane_parts(lane))), -1)
  index_delta = index_delta - 1
  if redis.call('EXISTS', READY .. gate) == 0 then
    redis.call('SREM', READY .. 'gates', gate)
    -- Else a worker that ends when nothing is left would wait for it.
    redis.call('ZREM', READY .. 'times', gate)
  end
end

-- Takes a line out of the index wherever it stands.
local function index_forget(class, line)
  local held = redis.call('HGET', HELD, line)
  if held then
    local phase, _, lane = held_parts(held)
    if phase == 'D' then index_delta = index_delta - 1 else index_remove(lane, line) end
    redis.call('HDEL', HELD, line)
    redis.call('ZREM', DELAYED, line)
    redis.call('ZREM', RETRY_ELSEWHERE, line)
  end
  for _, lane in ipairs(gates.lanes_of(class, line)) do index_remove(lane, line) end
  gates.leave(class, line)
end

-- How what a line waited for has ended: "" where it waited for nothing.
function gates.upstream(line)
  local ended = ''
  for _, gate in ipairs(home(line) == WAITING and gates.of(line) or {}) do
    local parts = gates.take_apart(gate)
    if not parts.seconds and ended ~= 'failed' then
      ended = parts.kind == 'a' and gates.state(parts.name) == 'failed' and 'failed' or 'finished'
    end
  end
  return ended
end
