-- Reservations: a task that fits a node, but not its room, and was passed over for long keeps what is behind it from starting there.
--
-- RESERVED[lane] = WORKER|UNTIL. BLOCKED[lane] = SINCE|LINE is since when the first line of a lane has been passed over. One for memory or cores forbids
-- backfilling: nothing that comes after `limit` may start before it, and `mine` is it. One for a named resource holds back only what asks for that resource,
-- from the score in `guarded` on.
-- The claim sets worker, now, lease and starve_ms (after how long a task that was passed over reserves).

local reservations = { guarded = {} }

-- Reads those of this worker, and drops what is out of date. A reservation is given up if even the empty node could not run the task, or if it is gone.
function reservations.read(is_within_node, free)
  reservations.exist = redis.call('HLEN', RESERVED) > 0
  if not reservations.exist then return end
  local now, guarded = reservations.now, reservations.guarded
  local all = redis.call('HGETALL', RESERVED)
  for i = 1, #all, 2 do
    local holder, untl = string.match(all[i + 1], '^(.*)|(%d+)$')
    -- A time in the far future is from before the server's clock was set back.
    if tonumber(untl) < now or tonumber(untl) > now + reservations.lease + 60000 then
      redis.call('HDEL', RESERVED, all[i])
    elseif holder == reservations.worker then
      local head = redis.call('ZRANGE', READY .. 'c:' .. all[i], 0, 0, 'WITHSCORES')
      local m, c, needs, batch = lane_parts(all[i])
      if m then m = learnt.mem(needs, m) end
      if head[1] and not held_batches[batch] and is_within_node { mem = m, cpu = c, needs = needs } and is_waiting(head[1]) then
        local score, amounts = tonumber(head[2]), needs_of(needs).amounts
        if m <= free.mem and c <= free.cpu and lacks(free.resources, amounts) then
          for name in pairs(amounts) do guarded[name] = math.min(guarded[name] or score, score) end
        elseif not reservations.limit or score < reservations.limit then
          reservations.mine, reservations.limit = { name = all[i], line = head[1], mem = m }, score
        end
      else
        redis.call('HDEL', RESERVED, all[i])
        redis.call('HDEL', BLOCKED, all[i])
      end
    end
  end
end

-- Drops those of lanes from which something was taken.
function reservations.fulfil(touched)
  for name in pairs(reservations.exist and touched or {}) do
    if redis.call('HDEL', RESERVED, name) == 1 then redis.call('HDEL', BLOCKED, name) end
  end
  if reservations.mine and touched[reservations.mine.name] then reservations.mine = nil end
end

-- Reserves for the first task of a lane, once it has been passed over for starve_ms. Returns the reservation, or nil.
function reservations.reserve(lane)
  local now = reservations.now
  local line = lane.line or redis.call('ZRANGE', READY .. 'c:' .. lane.name, 0, 0)[1]
  local since, seen = string.match(redis.call('HGET', BLOCKED, lane.name) or '', '^(%d+)|(.*)$')
  if line and seen == line and tonumber(since) <= now then
    if now - tonumber(since) < reservations.starve_ms then return nil end
    local holder = string.match(redis.call('HGET', RESERVED, lane.name) or '', '^(.*)|%d+$')
    if not holder or holder == reservations.worker then
      redis.call('HSET', RESERVED, lane.name, reservations.worker .. '|' .. int(now + reservations.lease))
      return { line = line, mem = lane.mem }
    end
  elseif line then
    redis.call('HSET', BLOCKED, lane.name, int(now) .. '|' .. line)
  end
end
