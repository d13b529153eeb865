-- Counts the members of all batches anew, one bounded step at a time. Gates stay closed meanwhile.
--
-- Returns: the next cursor, "0" at the end.
-- Guarantees: exact, whatever happens to members meanwhile: those that were counted are in READY .. "counted", and every other script changes the counters
-- of those alone. Submissions under way are known by BATCH_SUBMITS.
-- Records: ARG, in queue/records.rs.

local cursor = ARGV[ARG.cursor]
if cursor == '' then
  redis.call('SET', READY .. 'counts', '2')
  redis.call('UNLINK', READY .. 'counted')
  redis.call('DEL', BATCH_N)
  redis.call('HSET', BATCH_N, BEGUN, 0)
  -- A batch without members is known by its record. A step without any is forgotten: its gates stay closed.
  for _, batch in ipairs(redis.call('HKEYS', BATCHES)) do redis.call('HSETNX', BATCH_N, batch, 0) end
  local submits = redis.call('HGETALL', BATCH_SUBMITS)
  for i = 1, #submits, 2 do
    if string.find(submits[i + 1], '^%d') then
      local batch = string.match(submits[i], '^[^\t]*')
      redis.call('HINCRBY', BATCH_N, batch .. '+', 1)
      redis.call('HSETNX', BATCH_N, batch, 0)
    end
  end
  return 'begun'
end
-- Another worker has begun again, or somebody has taken the index or the counters away: this count is void.
if redis.call('GET', READY .. 'counts') ~= '2' or redis.call('HEXISTS', BATCH_N, BEGUN) == 0 then return 'void' end
local page = redis.call('HSCAN', MEMBER, cursor, 'COUNT', ARGV[ARG.count])
for i = 1, #page[2], 2 do
  if redis.call('SADD', READY .. 'counted', page[2][i]) == 1 then
    local flag, names = string.match(page[2][i + 1], '^(%a) ([^ ]*)')
    for _, level in ipairs(members.levels(names or '')) do
      redis.call('HINCRBY', BATCH_N, level, flag == 'o' and 1 or 0)
      redis.call('HINCRBY', BATCH_N, level .. '!', (flag == 'x' or flag == 'g') and 1 or 0)
      redis.call('HINCRBY', BATCH_N, level .. '=', 1)
      if flag == 'g' then redis.call('HINCRBY', BATCH_N, level .. '~', 1) end
    end
  end
end
if page[1] == '0' then
  redis.call('UNLINK', READY .. 'counted')
  redis.call('SET', READY .. 'counts', '1')
  redis.call('ZADD', READY .. 'chores', 0, 'g:')
end
return page[1]
