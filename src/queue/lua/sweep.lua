-- Removes from the index what is no longer waiting: one bounded step over a lane, or the final count.
-- Records: ARG, REPLY, in queue/records.rs.

local dropped = 0
local function reply(cursor) return { [REPLY.cursor] = cursor, [REPLY.dropped] = dropped } end

-- How many lines are behind gates: by the counts of batches, which are made anew where they cannot be right.
local function behind_gates()
  local counted, all = 0, redis.call('HVALS', READY .. 'gated')
  local is_there = #all > 0
  for _, n in ipairs(all) do
    counted = counted + tonumber(n)
    is_there = is_there and tonumber(n) >= 0
  end
  -- Where others have deleted the counts, one long look makes them anew.
  if redis.call('SCARD', READY .. 'gates') > (is_there and 1000 or 50000) then return counted end
  local held, of_batch = 0, {}
  for _, gate in ipairs(redis.call('SMEMBERS', READY .. 'gates')) do
    local n = redis.call('ZCARD', READY .. gate)
    if n == 0 then
      redis.call('SREM', READY .. 'gates', gate)
    else
      held = held + n
      local batch = select(4, lane_parts(string.match(redis.call('ZRANGE', READY .. gate, 0, 0)[1], '^[^\t]*'))) or ''
      of_batch[batch] = (of_batch[batch] or 0) + n
    end
  end
  if held == counted then return counted end
  redis.call('DEL', READY .. 'gated')
  for batch, n in pairs(of_batch) do redis.call('HSET', READY .. 'gated', batch, n) end
  return held
end
if ARGV[ARG.lane] == '=' then
  local count = redis.call('ZCARD', DELAYED)
  for _, cell in ipairs(redis.call('ZRANGE', CELLS, 0, -1)) do
    local lanes = redis.call('ZRANGE', READY .. 'h:' .. cell, 0, -1)
    if #lanes == 0 then redis.call('ZREM', CELLS, cell) end
    for _, lane in ipairs(lanes) do
      local n = redis.call('ZCARD', READY .. 'c:' .. lane)
      if n == 0 then index_heads { lane } end
      count = count + n
    end
  end
  for _, lane in ipairs(redis.call('HKEYS', READY .. 'parked')) do
    local n = redis.call('ZCARD', READY .. 'c:' .. lane)
    if n == 0 then redis.call('HDEL', READY .. 'parked', lane) end
    if not lane_head(lane) then count = count + n end
  end
  -- See spread.lua.
  local many = math.min(redis.call('ZCARD', READY .. 'submitted') - 10000, 1000)
  if many > 0 then redis.call('ZREM', READY .. 'submitted', unpack(redis.call('ZRANGE', READY .. 'submitted', 0, many - 1))) end
  count = count + behind_gates()
  redis.call('SET', COUNT, int(count))
  return reply('0')
end
if ARGV[ARG.lane] == '' then
  local page = redis.call('HSCAN', HELD, ARGV[ARG.cursor], 'COUNT', ARGV[ARG.count])
  for i = 1, #page[2], 2 do
    local line = page[2][i]
    if not is_waiting(line) then
      index_forget(class_of(select(3, held_parts(page[2][i + 1]))), line)
      dropped = dropped + 1
    end
  end
  index_flush()
  return reply(page[1])
end
-- A step over the gates: of each some entries are looked at, chosen at random, so that a gate of any size is swept in the end.
if ARGV[ARG.lane] == '*' then
  local gates_page = redis.call('SSCAN', READY .. 'gates', ARGV[ARG.cursor], 'COUNT', 16)
  for _, gate in ipairs(gates_page[2]) do
    for _, member in ipairs(redis.call('ZRANDMEMBER', READY .. gate, 64)) do
      local lane, line = string.match(member, '^([^\t]*)\t(.*)$')
      if not (line and is_waiting(line)) then
        redis.call('ZREM', READY .. gate, member)
        redis.call('HINCRBY', READY .. 'gated', select(4, lane_parts(lane or '')) or '', -1)
        index_delta = index_delta - 1
        dropped = dropped + 1
      end
    end
  end
  index_flush()
  return reply(gates_page[1])
end
local key = READY .. 'c:' .. ARGV[ARG.lane]
local page = redis.call('ZSCAN', key, ARGV[ARG.cursor], 'COUNT', ARGV[ARG.count])
for i = 1, #page[2], 2 do
  local line = page[2][i]
  if not is_waiting(line) then
    index_delta = index_delta - redis.call('ZREM', key, line)
    dropped = dropped + 1
  end
end
if dropped > 0 then
  index_heads { ARGV[ARG.lane] }
  index_flush()
end
return reply(page[1])
