-- Drops from the index what is no longer in todo_tasks: one bounded step over a class, or the closing count.
--
-- ARGV: 1 class, or "" for the lines of retries, or "=" to set COUNT to what the index really holds; 2 cursor, 3 about how many to look at.
-- Returns: the next cursor ("0" at the end), how many were dropped.

local dropped = 0
if ARGV[1] == '=' then
  local count = redis.call('ZCARD', DELAYED)
  for _, class in ipairs(redis.call('ZRANGE', CLASS_HEADS, 0, -1)) do
    local n = redis.call('ZCARD', READY .. 'c:' .. class)
    if n == 0 then redis.call('ZREM', CLASS_HEADS, class) end
    count = count + n
  end
  redis.call('SET', COUNT, int(count))
  return { '0', 0 }
end
if ARGV[1] == '' then
  local page = redis.call('HSCAN', HELD, ARGV[2], 'COUNT', ARGV[3])
  for i = 1, #page[2], 2 do
    local line = page[2][i]
    if redis.call('HEXISTS', TODO, line) == 0 then
      local mem, cpu = string.match(page[2][i + 1], '|(%d+):(%d+):[^|]*$')
      index_forget(mem .. ':' .. cpu .. ':', line)
      dropped = dropped + 1
    end
  end
  index_flush()
  return { page[1], dropped }
end
local key = READY .. 'c:' .. ARGV[1]
local page = redis.call('ZSCAN', key, ARGV[2], 'COUNT', ARGV[3])
for i = 1, #page[2], 2 do
  local line = page[2][i]
  if redis.call('HEXISTS', TODO, line) == 0 then
    index_delta = index_delta - redis.call('ZREM', key, line)
    dropped = dropped + 1
  end
end
if dropped > 0 then
  index_head(ARGV[1])
  index_flush()
end
return { page[1], dropped }
