-- Suspects: lines that had, or may have had, a slot when their worker was lost.
--
-- APART[line] = LEVEL|MS, how long it had run at most. A suspect waits in a lane of its own kind, "MEM:CPU:NEEDS:BATCH:!LEVEL,". From level 1 on it runs apart
-- (claim.lua). A script in which there is none spends one call on it.

local suspects_known
local function has_suspects()
  if suspects_known == nil then suspects_known = redis.call('HLEN', APART) > 0 end
  return suspects_known
end

-- Indexes a line that nobody has failed.
local function index_add(base, line, score)
  local level = has_suspects() and string.match(redis.call('HGET', APART, line) or '', '^(%d)|')
  if not level then return gates.place(base, line, score) end
  local lane = lane_of(base, line, '!' .. level .. ',')
  redis.call('HSET', HELD, line, 'S|' .. score .. '|' .. lane)
  index_put(lane, line, score)
end
