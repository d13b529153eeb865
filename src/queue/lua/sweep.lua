-- Removes from the index what is no longer waiting: one bounded step over a lane, or the final count.
-- Records: ARG, REPLY, in queue/records.rs.

local dropped = 0
local function reply(cursor) return { [REPLY.cursor] = cursor, [REPLY.dropped] = dropped } end
if ARGV[ARG.lane] == '=' then
  local count = redis.call('ZCARD', DELAYED)
  for _, cell in ipairs(redis.call('ZRANGE', CELLS, 0, -1)) do
    local lanes = redis.call('ZRANGE', READY .. 'h:' .. cell, 0, -1)
    if #lanes == 0 then redis.call('ZREM', CELLS, cell) end
    for _, lane in ipairs(lanes) do
      local n = redis.call('ZCARD', READY .. 'c:' .. lane)
      if n == 0 then index_head(lane) end
      count = count + n
    end
  end
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
  index_head(ARGV[ARG.lane])
  index_flush()
end
return reply(page[1])
