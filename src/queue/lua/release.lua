-- One bounded step of what is to be done about batches besides claims: empties gates that have opened, gives up lines whose gate can open no more, and
-- takes away what ended submissions have left.
--
-- Returns: whether there is more to do, then the batches that have stopped and whose waiting lines are to be given up (control.lua).
-- Records: ARG, REPLY, ROW, in queue/records.rs.

local most, now = tonumber(ARGV[ARG.most]), now_ms()
if ARGV[ARG.done] ~= '' then redis.call('ZREM', READY .. 'chores', ARGV[ARG.done]) end
gates.open_by_time(now)
local left = most - gates.release(most)

-- The lines behind a gate of lines that are to be given up with what they wait for.
local function give_up_behind(gate)
  local name = string.sub(gate, 3)
  if gates.state(name) ~= 'failed' then
    redis.call('ZREM', READY .. 'chores', gate)
    return turns.turn { name }
  end
  local reason = '"' .. GROUP.dependency_failed .. ': ' .. name .. '"'
  local page = redis.call('ZRANGE', READY .. gate, 0, math.max(1, math.min(100, left)) - 1)
  for _, member in ipairs(page) do
    local lane, line = string.match(member, '^([^\t]*)\t(.*)$')
    if lane and is_waiting(line) then give_up(line, class_of(lane), reason, GROUP.dependency_failed) end
    if redis.call('ZREM', READY .. gate, member) == 1 then
      index_delta = index_delta - 1
      redis.call('HINCRBY', READY .. 'gated', select(4, lane_parts(lane or '')) or '', -1)
    end
    left = left - 1
  end
  if redis.call('EXISTS', READY .. gate) == 0 then
    redis.call('ZREM', READY .. 'chores', gate)
    redis.call('SREM', READY .. 'gates', gate)
  end
end

-- All gates are looked at, some at a time: their state may have changed without a member that ended.
local function look_at_gates()
  local page = redis.call('SSCAN', READY .. 'gates', redis.call('GET', READY .. 'gates_cursor') or '0', 'COUNT', 64)
  local names = {}
  for i, gate in ipairs(page[2]) do names[i] = string.sub(gate, 3) end
  turns.turn(names)
  left = left - #names
  if page[1] == '0' then
    redis.call('DEL', READY .. 'gates_cursor')
    redis.call('ZREM', READY .. 'chores', 'g:')
  else
    redis.call('SET', READY .. 'gates_cursor', page[1])
  end
end

-- Lines that joined a batch while they waited go where that has them.
local function move(class, line)
  local held = redis.call('HGET', HELD, line)
  if held then
    local phase, score, lane = held_parts(held)
    local to = lane_of(class, line, (select(5, lane_parts(lane))))
    redis.call('HSET', HELD, line, phase .. '|' .. score .. '|' .. to)
    if phase ~= 'D' and lane ~= to then
      index_put(to, line, score)
      index_remove(lane, line)
    end
    return
  end
  local score = gates.find(class, line)
  for _, lane in ipairs(gates.lanes_of(class, line)) do score = score or redis.call('ZSCORE', READY .. 'c:' .. lane, line) end
  if not score then return end
  index_forget(class, line)
  gates.place(class, line, score)
end
for _, member in ipairs(redis.call('ZRANGE', READY .. 'moves', 0, 99)) do
  local class, line = string.match(member, '^([^\t]*)\t(.*)$')
  if class and is_waiting(line) and members.batch_of(line) ~= '' then move(class, line) end
  redis.call('ZREM', READY .. 'moves', member)
  left = left - 1
end

local stopped = {}
for _, chore in ipairs(left > 0 and redis.call('ZRANGE', READY .. 'chores', 0, 63) or {}) do
  if left <= 0 then break end
  local kind, batch = string.match(chore, '^(%a):(.*)$')
  if kind == 'k' then give_up_behind(chore)
  elseif kind == 'g' then look_at_gates()
  elseif kind == 'x' and string.sub(redis.call('HGET', BATCH_HELD, batch) or '', 1, #HOLD.stopped) == HOLD.stopped then stopped[#stopped + 1] = batch
  else redis.call('ZREM', READY .. 'chores', chore) end
end
-- Of many submissions some are looked at, chosen at random; while some of them have ended, there is more to do.
local submits, have_ended = redis.call('HRANDFIELD', BATCH_SUBMITS, 256, 'WITHVALUES'), false
for i = 1, #submits, 2 do
  -- A submission after which another was completed, and which has added nothing for a minute, was cut short.
  local last = tonumber(string.match(submits[i + 1], '^%d+:(%d+):s$'))
  if last and now / 1000 - last >= 60 then
    local batch = string.match(submits[i], '^[^\t]*')
    submits[i + 1] = redis.call('HGET', BATCH_N, batch) == '0' and 'over' or 'ended'
    redis.call('HSET', BATCH_SUBMITS, submits[i], submits[i + 1])
    if redis.call('HINCRBY', BATCH_N, batch .. '+', -1) < 0 then redis.call('HSET', BATCH_N, batch .. '+', 0) end
    redis.call('ZADD', READY .. 'opening', 0, 'd:' .. batch)
  end
  if not string.find(submits[i + 1], '^%d') then
    local batch = string.match(submits[i], '^[^\t]*')
    redis.call('HDEL', BATCH_SUBMITS, submits[i])
    have_ended = true
    turns.judge_failures(batch)
    if submits[i + 1] == 'over' then turns.say_end(batch) end
  end
end
members.flush(turns.at_zero)
index_flush()
wake_idle()
local chores = redis.call('ZCARD', READY .. 'chores') - #stopped
local has_more = chores > 0 or (have_ended and redis.call('HLEN', BATCH_SUBMITS) > 0) or redis.call('EXISTS', READY .. 'opening', READY .. 'moves') > 0
local reply = { [REPLY.has_more] = has_more and 1 or 0 }
for i, batch in ipairs(stopped) do reply[REPLY.size + ROW.size * (i - 1) + 1 + ROW.batch] = batch end
return reply
