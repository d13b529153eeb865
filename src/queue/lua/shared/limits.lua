-- Limits: how many lines that name a limit are in progress at once, in all and on one node.
--
-- LIMITS[name] = "MAX" or "MAX/PER_NODE"; without a field there is no limit, and what cannot be read stops all. LIMITS_IN .. name is the set of lines that
-- count now. LIMITS_AT[line] = "HOST<tab>WORKER" is where each of them does; HOST is empty until a heartbeat has said it. Adding to a set and removing from
-- it are safe to repeat, where a counter is not. A line counts from its claim until the process is known to be dead. A line is added before it is in
-- progress, and removed after it has left.
-- The claim and the heartbeat set me, the traits of the worker.

local limits = { known = {}, waiting = {} }

-- The limits that a line names; nil for most lines.
function limits.of(line)
  if not string.find(line, '^%a+,[^:]*limit=') then return nil end
  local needs, names = string.match(line, '^%a+,([^:]*):'), {}
  for name in string.gmatch(',' .. needs, ',limit=([^,]+)') do names[#names + 1] = name end
  return names[1] and names
end

-- Where a line of this worker counts.
function limits.place_of(worker)
  for label in pairs(limits.me and limits.me.labels or {}) do
    local host = string.match(label, '^host=(.*)$')
    if host then return host .. '\t' .. worker end
  end
  return '\t' .. worker
end

-- Counts lines that a worker is about to have in progress.
function limits.enter(worker, lines)
  local at, of_name = {}, {}
  for _, line in ipairs(lines) do
    for _, name in ipairs(limits.of(line) or {}) do
      of_name[name] = of_name[name] or {}
      table.insert(of_name[name], line)
      if at[#at - 1] ~= line then
        at[#at + 1] = line
        at[#at + 1] = limits.place_of(worker)
      end
    end
  end
  if #at == 0 then return end
  if limits.me then
    bulk('HSET', LIMITS_AT, at)
  else
    for i = 1, #at, 2 do redis.call('HSETNX', LIMITS_AT, at[i], at[i + 1]) end
  end
  for name, list in pairs(of_name) do bulk('SADD', LIMITS_IN .. name, list) end
end

-- Whether a line that waits may come back into progress: none of its limits is used up by others.
function limits.may_return(line)
  for _, name in ipairs(limits.of(line) or {}) do
    local most = string.match(redis.call('HGET', LIMITS, name) or '', '^(%d+)')
    local is_counted = redis.call('SISMEMBER', LIMITS_IN .. name, line) == 1
    if most and not is_counted and redis.call('SCARD', LIMITS_IN .. name) >= tonumber(most) then return false end
  end
  return true
end

-- Counts again what a worker has claimed or is to stop, where others have deleted that, or Redis has lost it.
function limits.recount(worker, lists)
  if redis.call('HLEN', LIMITS) == 0 then return end
  local mine = {}
  for _, list in ipairs(lists) do
    for _, line in ipairs(redis.call('HKEYS', list)) do
      if limits.of(line) then mine[#mine + 1] = line end
    end
  end
  if #mine > 0 then limits.enter(worker, mine) end
end

-- The best lanes that may wait for units of a limit, while somebody is idle.
function limits.lanes_behind(name)
  if limits.waiting[name] then return limits.waiting[name] end
  local lanes = {}
  limits.waiting[name] = lanes
  if redis.call('HEXISTS', LIMITS, name) == 0 or redis.call('HLEN', IDLE) == 0 then return lanes end
  for _, cell in ipairs(redis.call('ZRANGE', CELLS, 0, 511)) do
    local needs = string.match(cell, '^[^/]*/[^/]*/([^:]*):') or ''
    if string.find(',' .. needs .. ',', ',limit=' .. name .. ',', 1, true) then
      lanes[#lanes + 1] = redis.call('ZRANGE', READY .. 'h:' .. cell, 0, 0)[1]
      if #lanes == 8 then break end
    end
  end
  return lanes
end

-- Counts lines no longer; returns how many units of each limit that sets free.
function limits.forget(lines)
  local freed, gone = {}, {}
  for _, line in ipairs(lines) do
    local names = limits.of(line)
    for _, name in ipairs(names or {}) do
      if redis.call('SREM', LIMITS_IN .. name, line) == 1 then freed[name] = (freed[name] or 0) + 1 end
    end
    if names then gone[#gone + 1] = line end
  end
  bulk('HDEL', LIMITS_AT, gone)
  return freed
end

-- Lets go of lines that have left progress, and asks for workers for what waits for the units.
function limits.leave(lines)
  for name, count in pairs(limits.forget(lines)) do
    local lanes = limits.lanes_behind(name)
    for i = 1, #lanes > 0 and math.max(count, #lanes) or 0 do want_worker(lanes[(i - 1) % #lanes + 1]) end
  end
end

-- Lets go of a line of which a worker says that nothing runs, unless it is in progress again.
function limits.let_go(line)
  if limits.of(line) and redis.call('HEXISTS', IN_PROGRESS, line) == 0 then limits.leave { line } end
end

-- How many lines of a limit count. Where its set is gone, and others have lines in progress, it is made anew from what they have.
function limits.used(name)
  local count = redis.call('SCARD', LIMITS_IN .. name)
  local elsewhere = count == 0 and redis.call('HLEN', LIMITS_AT) or 0
  if elsewhere == 0 or elsewhere > 1000 then return count end
  local lost = {}
  for _, line in ipairs(redis.call('HKEYS', LIMITS_AT)) do
    for _, one in ipairs(limits.of(line) or {}) do
      if one == name then lost[#lost + 1] = line end
    end
  end
  return bulk('SADD', LIMITS_IN .. name, lost)
end

-- How many of them count on the node of this worker. One whose node is not known counts on each.
function limits.used_here(name)
  local host = string.match(limits.place_of(''), '^[^\t]*')
  local count = 0
  for _, place in ipairs(get_all(LIMITS_AT, redis.call('SMEMBERS', LIMITS_IN .. name))) do
    local there = place and string.match(place, '^[^\t]*') or ''
    if there == '' or there == host then count = count + 1 end
  end
  return count
end

-- How many more lines of a limit this worker may claim: read once a call, and only for limits that a lane names.
function limits.left_of(name)
  if limits.known[name] then return limits.known[name] end
  local left, limit = math.huge, redis.call('HGET', LIMITS, name)
  if limit then
    local most, per_node = string.match(limit, '^(%d+)/?(%d*)$')
    left = (tonumber(most) or 0) - limits.used(name)
    if left > 0 and tonumber(per_node) then left = math.min(left, tonumber(per_node) - limits.used_here(name)) end
  end
  limits.known[name] = left
  return left
end

-- Whether one of the limits that these needs of a lane name is full.
function limits.is_full(needs)
  if needs == '' then return false end
  for _, name in ipairs(needs_of(needs).limit) do
    if limits.left_of(name) <= 0 then return true end
  end
  return false
end

-- Counts down for a line of such a lane that this call claims.
function limits.take(needs)
  if needs == '' then return end
  for _, name in ipairs(needs_of(needs).limit) do limits.known[name] = limits.left_of(name) - 1 end
end
