-- Emptying gates that have opened.

-- Puts up to `most` lines behind open gates into their lanes, the best of all gates first, or behind another gate of theirs that is closed. Returns how many it
-- looked at: at most four times as many, and some.
function gates.release(most)
  local seen, placed = 0, 0
  while placed < most and seen < most * 4 + 16 do
    local first = redis.call('ZRANGE', READY .. 'opening', 0, 1, 'WITHSCORES')
    local gate, next_best = first[1], first[4]
    if not gate then break end
    local of_submission = string.match(gate, '^d:(.*)$')
    if of_submission then
      -- A submission has ended: names that had ended before it. While another is under way, its end looks at them.
      local is_under_way = tonumber(redis.call('HGET', BATCH_N, of_submission .. '+') or '0') > 0
      local names = is_under_way and {} or redis.call('SPOP', READY .. 'due:' .. of_submission, 64)
      if #names == 0 then redis.call('ZREM', READY .. 'opening', gate) end
      seen = seen + 1
      for _, name in ipairs(names) do
        seen = seen + 1
        turns.turn(name)
      end
    else
      local page = {}
      if gates.is_open(gate) then
        page = redis.call('ZRANGEBYSCORE', READY .. gate, '-inf', next_best or '+inf', 'WITHSCORES', 'LIMIT', 0, math.min(250, most - placed))
        -- The score of the gate in `opening` was not its best any more.
        if #page == 0 then page = redis.call('ZRANGE', READY .. gate, 0, 0, 'WITHSCORES') end
      end
      local moved, lines, in_lane, of_batch, lanes, placed_before = {}, {}, {}, {}, {}, placed
      for i = 1, #page, 2 do
        in_lane[#in_lane + 1], lines[#lines + 1] = string.match(page[i], '^([^\t]*)\t(.*)$')
        moved[#moved + 1] = page[i]
      end
      local batch_of, waits = {}, waiting_of(lines)
      members.read(lines)
      for k, line in ipairs(lines) do
        local lane, i = in_lane[k], 2 * k - 1
        local batch = batch_of[lane] or select(4, lane_parts(lane))
        if batch then
          batch_of[lane] = batch
          of_batch[batch] = (of_batch[batch] or 0) + 1
          if waits[k] then
            local closed = gates.closed(line)
            if closed then
              gates.file(closed, batch, { page[i + 1], page[i] })
            else
              lanes[lane] = lanes[lane] or { least = page[i + 1] }
              placed = placed + 1
              table.insert(lanes[lane], page[i + 1])
              table.insert(lanes[lane], line)
              want_worker(lane)
            end
          end
        end
      end
      for lane, list in pairs(lanes) do index_put_all(lane, list, list.least) end
      if placed > placed_before then turns.tell('B\treleased\t' .. string.sub(gate, 3) .. '\t' .. int(placed - placed_before)) end
      seen = seen + math.max(1, #moved)
      index_delta = index_delta - bulk('ZREM', READY .. gate, moved)
      for batch, n in pairs(of_batch) do redis.call('HINCRBY', READY .. 'gated', batch, -n) end
      local best = redis.call('ZRANGE', READY .. gate, 0, 0, 'WITHSCORES')[2]
      if not best then redis.call('SREM', READY .. 'gates', gate) end
      if best and #page > 0 then redis.call('ZADD', READY .. 'opening', best, gate) else redis.call('ZREM', READY .. 'opening', gate) end
    end
  end
  return seen
end

-- Opens gates whose time has come.
function gates.open_by_time(now)
  for _, gate in ipairs(redis.call('ZRANGEBYSCORE', READY .. 'times', '-inf', int(math.floor(now / 1000)), 'LIMIT', 0, 32)) do
    local best = redis.call('ZRANGE', READY .. gate, 0, 0, 'WITHSCORES')
    if best[1] then redis.call('ZADD', READY .. 'opening', best[2], gate) end
    redis.call('ZREM', READY .. 'times', gate)
  end
end
