-- Adding to what is known of families (learnt.lua): what one call has to add is one read and one write a family.

local learning = { noted = {} }

do
  -- So many families are kept. Beyond that a step of a batch has no family of its own, but that of its batch, and any other new one takes the place of one of
  -- the rarest of some.
  local MOST_FAMILIES = 1000

  local BUCKETS_OF_E = 3 / math.log(2)

  -- What this call has to add to a family. What the first of a family in a call declared stands for all of them.
  local function noted_of(family, declared, batch)
    local one = learning.noted[family]
    if not one then
      one = { count = 0, most = 0, buckets = {}, declared = declared, batch = batch ~= family and batch or '' }
      learning.noted[family] = one
    end
    return one
  end

  -- The peak in bytes of an attempt that finished; batch is the one of whose steps the family is, "" for none.
  function learning.note(family, peak, is_learnt, class, batch)
    local one = noted_of(family, is_learnt and 'auto' or string.match(class, '^%d+') or '0', batch)
    local bucket = peak > 1048576 and math.min(63, math.floor(math.log(peak / 1048576) * BUCKETS_OF_E)) or 0
    one.count = one.count + 1
    if peak > one.most then one.most = peak end
    one.buckets[bucket] = (one.buckets[bucket] or 0) + 1
  end

  local function make_room()
    local some, rarest, least = redis.call('HRANDFIELD', LEARNT, 16, 'WITHVALUES'), nil, nil
    for i = 1, #some, 2 do
      local count = tonumber(string.match(some[i + 1], '^%d+') or '0')
      if not least or count < least then rarest, least = some[i], count end
    end
    if rarest then redis.call('HDEL', LEARNT, rarest) end
  end

  local function add(to, one)
    to.count, to.most = to.count + one.count, math.max(to.most, one.most)
    for bucket, n in pairs(one.buckets) do to.buckets[bucket] = (to.buckets[bucket] or 0) + n end
  end

  -- What is known of families that this call has something to add to. New ones have found room, or stand with their batch.
  local function known_families()
    local families, known = {}, {}
    for family in pairs(learning.noted) do families[#families + 1] = family end
    local left = MOST_FAMILIES - redis.call('HLEN', LEARNT)
    for i, old in ipairs(get_all(LEARNT, families)) do
      local family, one = families[i], learning.noted[families[i]]
      if old then
        known[family] = old
      elseif left <= 0 and one.batch ~= '' then
        add(noted_of(one.batch, one.declared, ''), one)
        learning.noted[family] = nil
        known[one.batch] = known[one.batch] or redis.call('HGET', LEARNT, one.batch) or nil
      elseif left <= 0 then
        make_room()
      else
        left = left - 1
      end
    end
    return known
  end

  function learning.flush()
    if not next(learning.noted) then return end
    local known, written = known_families(), {}
    for family, one in pairs(learning.noted) do
      local count, most, counts = string.match(known[family] or '', '^(%d+) (%d+) %S+ (.*)$')
      for bucket, n in string.gmatch(counts or '', '(%d+):(%d+)') do
        bucket = tonumber(bucket)
        one.buckets[bucket] = (one.buckets[bucket] or 0) + tonumber(n)
      end
      local before, parts = tonumber(count or '0'), {}
      for bucket = 0, 63 do
        if one.buckets[bucket] then parts[#parts + 1] = bucket .. ':' .. int(one.buckets[bucket]) end
      end
      local head = int(before + one.count) .. ' ' .. int(math.max(one.most, tonumber(most or '0'))) .. ' ' .. one.declared
      written[#written + 1] = family
      written[#written + 1] = head .. ' ' .. table.concat(parts, ',')
      -- Many of them may run at once from now on.
      if before < FEW and before + one.count >= FEW then redis.call('PUBLISH', WAKE, 'todo') end
    end
    bulk('HSET', LEARNT, written)
  end
end
