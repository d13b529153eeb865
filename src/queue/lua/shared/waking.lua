-- Waking idle workers.
--
-- A worker that has room and found nothing for it stands in IDLE[worker] = MEM:CPU:SLOTS:RESOURCES until it is woken or finds something. A script that adds
-- lines calls want_worker for each and wake_idle at its end. That wakes as many workers as the lines need, and one more in case one cannot: not the whole
-- fleet for one line.

local wanted = {}

-- So many more lines of this lane: its workers are those that leave it to others.
local function want_workers(lane, n) wanted[lane] = (wanted[lane] or 0) + n end
local function want_worker(lane) want_workers(lane, 1) end

-- How many of count lines such a worker has room for; takes the room. Of a family of which nothing is known yet, one.
local function room_for(other, mem, cpu, needs, count, is_unknown)
  local fits = math.min(is_unknown and 1 or count, other.slots)
  if mem > 0 then fits = math.min(fits, math.floor(other.mem / mem)) end
  if cpu > 0 then fits = math.min(fits, math.floor(other.cpu / cpu)) end
  if needs.amounts then
    local n = 0
    while n < fits and not lacks(other.resources, needs.amounts) do
      take(other.resources, needs.amounts)
      n = n + 1
    end
    fits = n
  end
  other.slots, other.mem, other.cpu = other.slots - fits, other.mem - fits * mem, other.cpu - fits * cpu
  return fits
end

-- Workers are chosen at random, so that none is woken more often than others. A worker without a listener is dead or not ready yet: it is removed, and
-- adds itself again with its next claim. If the workers that were examined do not suffice, all workers are woken.
local function wake_idle()
  if not next(wanted) then return end
  local n = redis.call('HLEN', IDLE)
  if n == 0 then return end
  local look = 64
  for _, count in pairs(wanted) do look = look + count end
  local all = n <= look and redis.call('HGETALL', IDLE) or redis.call('HRANDFIELD', IDLE, look, 'WITHVALUES')
  local idle, is_spare_due = {}, true
  for i = 1, #all, 2 do
    local mem, cpu, slots, resources = string.match(all[i + 1], '^(%d+):(%d+):(%d+):?(.*)$')
    if mem then
      idle[#idle + 1] =
        { name = all[i], mem = tonumber(mem), cpu = tonumber(cpu), slots = tonumber(slots), resources = resources_of(resources) }
    end
  end
  local function wake(other)
    redis.call('HDEL', IDLE, other.name)
    other.is_gone = redis.call('PUBLISH', WAKE .. ':' .. other.name, 'todo') == 0
    other.is_awake = not other.is_gone
    return other.is_awake
  end
  local function traits(other)
    other.traits = other.traits or traits_of(select(3, capacity_parts(redis.call('HGET', CAPACITY, other.name) or '')) or '')
    return other.traits
  end
  local unmet = false
  for lane, count in pairs(wanted) do
    local mem, cpu, needs_text, _, failed = lane_parts(lane)
    failed = ',' .. failed
    local needs, unknown = needs_of(needs_text), nil
    mem, unknown = learnt.mem(needs_text, mem)
    local function has_room(other)
      return not other.is_gone and other.slots > 0 and other.mem >= mem and other.cpu >= cpu
        and not string.find(failed, ',' .. other.name .. ',', 1, true)
        and (needs_text == '' or (labels_hold(traits(other).labels, needs.constraint) and not lacks(other.resources, needs.amounts)))
    end
    local function is_preferred(other) return #needs.prefer == 0 or labels_hold(traits(other).labels, needs.prefer) end
    -- First those who were woken for another lane and have room left, then others. Those with other labels than preferred come last, and are woken besides:
    -- they wait for a while before they take anything.
    local unpreferred = {}
    for pass = 1, 2 do
      for _, other in ipairs(idle) do
        if count <= 0 then break end
        if (pass == 1) == (other.is_awake == true) and has_room(other) then
          if not is_preferred(other) then
            unpreferred[#unpreferred + 1] = other
          elseif other.is_awake or wake(other) then
            count = count - room_for(other, mem, cpu, needs, count, unknown)
          end
        end
      end
    end
    for i = 1, math.min(count, #unpreferred) do
      if not unpreferred[i].is_awake then wake(unpreferred[i]) end
    end
    if count > 0 then unmet = true end
    for _, other in ipairs(idle) do
      if not is_spare_due then break end
      if not other.is_awake and has_room(other) then is_spare_due = not wake(other) end
    end
  end
  if unmet and n > look then redis.call('PUBLISH', WAKE, 'todo') end
  wanted = {}
end
