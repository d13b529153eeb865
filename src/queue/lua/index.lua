-- Indexes waiting lines that a Python manager or a person may have written. One that stands in the other hash than such lines wait in moves home.
--
-- Returns: how many were not in the index; -1 when the queue has another field order: then nothing was done.
-- Records: ARG, EACH, in queue/records.rs.

if not order_agrees(ARGV[ARG.order]) then return -1 end
local added = 0
local now = now_ms()
local heads, behind = {}, {}
local first, last, last_seq
local lines = {}
for i = ARG.size + 1, #ARGV, EACH.size do lines[#lines + 1] = ARGV[i + EACH.line] end
members.read(lines)
grown.read(lines)
for i = ARG.size + 1, #ARGV, EACH.size do
  local line, class = ARGV[i + EACH.line], ARGV[i + EACH.class]
  bring_home(line)
  if is_waiting(line) and redis.call('HEXISTS', HELD, line) == 0 then
    local lane
    for _, one in ipairs(gates.lanes_of(class, line)) do
      if redis.call('ZSCORE', READY .. 'c:' .. one, line) then lane = one end
    end
    local score, gate
    if not lane then score, gate = gates.find(class, line) end
    if lane then
      heads[lane] = true
    elseif gate and not gates.is_of(gate, line) then
      -- Its batch has been asked to be given up with what it waits for, or that was taken back.
      gates.leave(class, line)
      gates.place(class, line, score)
    elseif gate then
      behind[gate] = true
    else
      last_seq = sequence(1)
      local score = int(tonumber(ARGV[i + EACH.base_score]) + last_seq)
      members.flip(line, 'o')
      local workers = redis.call('HGET', FAILED, line)
      if workers then will_be_retried(line) end
      index_waiting(class, line, score, workers, now, 0, tonumber(ARGV[ARG.avoid]))
      added = added + 1
      want_worker(lane_of(class, line, worker_set(workers or '')))
      first, last = first or line, line
    end
  end
end
for lane in pairs(heads) do
  local is_parked = redis.call('HEXISTS', READY .. 'parked', lane) == 1
  if not is_parked and not (lane_head(lane) and redis.call('ZSCORE', CELLS, cell_of(lane))) then index_heads { lane } end
end
-- What others have deleted of what is known of gates is made anew, and what has opened meanwhile is opened.
local holding, names = {}, {}
for gate in pairs(behind) do
  local parts = gates.take_apart(gate)
  holding[#holding + 1] = gate
  if parts.seconds then redis.call('ZADD', READY .. 'times', int(parts.seconds), gate) else names[#names + 1] = parts.name end
end
bulk('SADD', READY .. 'gates', holding)
turns.turn(names)
members.flush()
index_flush()
if added > 0 then
  -- See spread.lua.
  redis.call('ZADD', READY .. 'submitted', int(last_seq), int(math.floor(now / 1000)))
  events[1] = 'A\tfound\t' .. int(added) .. '\t' .. brief(first) .. '\t' .. brief(last)
  events_flush()
end
wake_idle()
return added
