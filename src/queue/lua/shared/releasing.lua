-- Emptying gates that have opened.

do
  -- Lines of so many open gates at most are merged by their scores at a time.
  local MOST_MERGED = 64

  -- A submission has ended: names that had ended before it are looked at. While another is under way, its end looks at them.
  local function look_at_due(gate)
    local batch = string.sub(gate, 3)
    local is_under_way = tonumber(redis.call('HGET', BATCH_N, batch .. '+') or '0') > 0
    local names = is_under_way and {} or redis.call('SPOP', READY .. 'due:' .. batch, 64)
    if #names == 0 then redis.call('ZREM', READY .. 'opening', gate) else turns.turn(names) end
    return #names
  end

  -- Reads so many lines of each of the first gates. first is these gates with their best scores in turns, and one more. Returns a page of each, which of them
  -- are closed, and the score up to which lines come before all that stays behind any gate.
  local function read(first, width, size)
    local names, pages, closed = {}, {}, {}
    for k = 1, math.min(width, #first / 2) do names[k] = gates.take_apart(first[2 * k - 1]).name end
    gates.know(names)
    local last = tonumber(first[2 * width + 2] or '') or math.huge
    for k = 1, #names do
      local gate = first[2 * k - 1]
      closed[k] = not gates.is_open(gate)
      pages[k] = redis.call('ZRANGE', READY .. gate, 0, size - 1, 'WITHSCORES')
      if not closed[k] and #pages[k] == 2 * size then last = math.min(last, tonumber(pages[k][2 * size])) end
    end
    return pages, closed, last
  end

  -- Whether a line needs nothing but what a gate stands for: then it has no other.
  local KEYS_OF = { b = 'after=', k = 'after=', a = 'afterany=' }
  local function has_no_other(line, gate)
    local parts = gates.take_apart(gate)
    if parts.seconds then return false end
    local need = ',' .. (KEYS_OF[parts.kind] or '') .. parts.name .. ':'
    local from = string.find(line, ',', 1, true) or 1
    return string.sub(line, from, from + #need - 1) == need
  end

  -- Puts lines into their lanes, each behind another gate of its own that is closed. origin[k] is the gate of line k. Returns how many are in lanes now.
  local function place(lines, in_lane, scores, origin, placed_of, left_of)
    local waits, lanes, batch_of, filed, placed, has_more, with_more = waiting_of(lines), {}, {}, {}, 0, {}, {}
    for k, line in ipairs(lines) do
      if waits[k] and not has_no_other(line, origin[k]) then
        has_more[k] = true
        with_more[#with_more + 1] = line
      end
    end
    gates.read(with_more)
    for k, line in ipairs(lines) do
      local lane, score = in_lane[k], scores[k]
      local batch = batch_of[lane]
      if not batch then
        batch = select(4, lane_parts(lane)) or ''
        batch_of[lane] = batch
      end
      left_of[batch] = (left_of[batch] or 0) + 1
      local closed = waits[k] and has_more[k] and gates.closed(line)
      if closed then
        filed[#filed + 1] = { gate = closed, batch = batch, pairs = { score, lane .. '\t' .. line } }
      elseif waits[k] then
        local list = lanes[lane]
        if not list then
          list = { least = score }
          lanes[lane] = list
        end
        if tonumber(score) < tonumber(list.least) then list.least = score end
        local n = #list
        list[n + 1], list[n + 2] = score, line
        placed = placed + 1
        placed_of[origin[k]] = (placed_of[origin[k]] or 0) + 1
      end
    end
    for lane, list in pairs(lanes) do
      index_put_all(lane, list, list.least)
      want_workers(lane, #list / 2)
    end
    if #filed > 0 then gates.file(filed) end
    return placed
  end

  -- One step: at most `most` lines of the first gates. Returns how many it took, and how many of them are in lanes now. A gate stays among those that are
  -- opening while it is open and holds something.
  local function step(first, width, most, placed_of, left_of)
    local size = width == 1 and most or 2
    local pages, closed, last = read(first, width, size)
    local lines, in_lane, scores, origin, taken_of, n = {}, {}, {}, {}, {}, 0
    for k, page in ipairs(pages) do
      local taken = {}
      for i = 1, closed[k] and 0 or #page, 2 do
        if tonumber(page[i + 1]) > last then break end
        n = n + 1
        taken[#taken + 1] = page[i]
        local lane, line = string.match(page[i], '^([^\t]*)\t(.*)$')
        in_lane[n], lines[n], scores[n], origin[n] = lane or '', line or '', page[i + 1], first[2 * k - 1]
      end
      taken_of[k] = taken
    end
    local placed = n > 0 and place(lines, in_lane, scores, origin, placed_of, left_of) or 0
    local opening, emptied, gone = {}, {}, {}
    for k, page in ipairs(pages) do
      local gate, taken = first[2 * k - 1], taken_of[k]
      index_delta = index_delta - bulk('ZREM', READY .. gate, taken)
      local head = page[2 * #taken + 2]
      if not head and #taken == size then head = redis.call('ZRANGE', READY .. gate, 0, 0, 'WITHSCORES')[2] end
      if head and not closed[k] then
        opening[#opening + 1], opening[#opening + 2] = head, gate
      else
        emptied[#emptied + 1] = gate
        if not head then gone[#gone + 1] = gate end
      end
    end
    bulk('SREM', READY .. 'gates', gone)
    bulk('ZADD', READY .. 'opening', opening)
    bulk('ZREM', READY .. 'opening', emptied)
    return n, placed
  end

  -- Puts about `most` lines behind open gates into their lanes, the best of all gates first, or behind another gate of theirs that is closed. Returns how
  -- many it looked at: at most four times as many, and some.
  function gates.release(most)
    local seen, placed, width, placed_of, left_of = 0, 0, 1, {}, {}
    while placed < most and seen < most * 4 + 16 do
      local first = redis.call('ZRANGE', READY .. 'opening', 0, width, 'WITHSCORES')
      if not first[1] then break end
      if string.sub(first[1], 1, 2) == 'd:' then
        seen = seen + 1 + look_at_due(first[1])
      else
        local taken, n = step(first, width, most - placed, placed_of, left_of)
        seen, placed = seen + width + taken, placed + n
        -- Where each of many gates gives a line, they are read together.
        if taken < width then width = math.max(1, taken) elseif taken <= 2 * width then width = MOST_MERGED end
        width = math.max(1, math.min(width, most - placed))
      end
    end
    local told = {}
    for gate, n in pairs(placed_of) do told[#told + 1] = 'B\treleased\t' .. string.sub(gate, 3) .. '\t' .. n end
    if #told > 0 then turns.tell(table.concat(told, '\n')) end
    for batch, n in pairs(left_of) do redis.call('HINCRBY', READY .. 'gated', batch, -n) end
    return seen
  end
end

-- Opens gates whose time has come.
function gates.open_by_time(now)
  for _, gate in ipairs(redis.call('ZRANGEBYSCORE', READY .. 'times', '-inf', int(math.floor(now / 1000)), 'LIMIT', 0, 32)) do
    local best = redis.call('ZRANGE', READY .. gate, 0, 0, 'WITHSCORES')
    if best[1] then redis.call('ZADD', READY .. 'opening', best[2], gate) end
    redis.call('ZREM', READY .. 'times', gate)
  end
end
