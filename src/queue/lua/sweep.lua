-- Removes from the index what is no longer in todo_tasks: one bounded step over a class, or the final count.
-- Records: ARG, REPLY, in queue/records.rs.

local dropped = 0
local function reply(cursor) return { [REPLY.cursor] = cursor, [REPLY.dropped] = dropped } end
if ARGV[ARG.class] == '=' then
  local count = redis.call('ZCARD', DELAYED)
  for _, class in ipairs(redis.call('ZRANGE', CLASS_HEADS, 0, -1)) do
    local n = redis.call('ZCARD', READY .. 'c:' .. class)
    if n == 0 then redis.call('ZREM', CLASS_HEADS, class) end
    count = count + n
  end
  redis.call('SET', COUNT, int(count))
  return reply('0')
end
if ARGV[ARG.class] == '' then
  local page = redis.call('HSCAN', HELD, ARGV[ARG.cursor], 'COUNT', ARGV[ARG.count])
  for i = 1, #page[2], 2 do
    local line = page[2][i]
    if redis.call('HEXISTS', TODO, line) == 0 then
      local mem, cpu = string.match(page[2][i + 1], '|(%d+):(%d+):[^|]*$')
      index_forget(mem .. ':' .. cpu .. ':', line)
      dropped = dropped + 1
    end
  end
  index_flush()
  return reply(page[1])
end
local key = READY .. 'c:' .. ARGV[ARG.class]
local page = redis.call('ZSCAN', key, ARGV[ARG.cursor], 'COUNT', ARGV[ARG.count])
for i = 1, #page[2], 2 do
  local line = page[2][i]
  if redis.call('HEXISTS', TODO, line) == 0 then
    index_delta = index_delta - redis.call('ZREM', key, line)
    dropped = dropped + 1
  end
end
if dropped > 0 then
  index_head(ARGV[ARG.class])
  index_flush()
end
return reply(page[1])
