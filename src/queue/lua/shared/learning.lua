-- Adding to what is known of families (learnt.lua): what one call has to add is one read and one write a family.

local learning = { noted = {} }

-- So many families are kept. One of the rarest of some gives way to a new one.
local MOST_FAMILIES = 1000

local BUCKETS_OF_E = 3 / math.log(2)

-- The peak in bytes of an attempt that finished. What the first of a family in a call declared stands for all of them.
function learning.note(family, peak, is_learnt, class)
  local one = learning.noted[family]
  if not one then
    one = { count = 0, most = 0, buckets = {}, declared = is_learnt and 'auto' or string.match(class, '^%d+') or '0' }
    learning.noted[family] = one
  end
  local bucket = peak > 1048576 and math.min(63, math.floor(math.log(peak / 1048576) * BUCKETS_OF_E)) or 0
  one.count = one.count + 1
  if peak > one.most then one.most = peak end
  one.buckets[bucket] = (one.buckets[bucket] or 0) + 1
end

local function make_room()
  if redis.call('HLEN', LEARNT) < MOST_FAMILIES then return end
  local some, rarest, least = redis.call('HRANDFIELD', LEARNT, 16, 'WITHVALUES'), nil, nil
  for i = 1, #some, 2 do
    local count = tonumber(string.match(some[i + 1], '^%d+') or '0')
    if not least or count < least then rarest, least = some[i], count end
  end
  if rarest then redis.call('HDEL', LEARNT, rarest) end
end

function learning.flush()
  for family, one in pairs(learning.noted) do
    local old = redis.call('HGET', LEARNT, family)
    local count, most, counts = string.match(old or '', '^(%d+) (%d+) %S+ (.*)$')
    if not old then make_room() end
    for bucket, n in string.gmatch(counts or '', '(%d+):(%d+)') do
      bucket = tonumber(bucket)
      one.buckets[bucket] = (one.buckets[bucket] or 0) + tonumber(n)
    end
    local before, parts = tonumber(count or '0'), {}
    for bucket = 0, 63 do
      if one.buckets[bucket] then parts[#parts + 1] = bucket .. ':' .. int(one.buckets[bucket]) end
    end
    local head = int(before + one.count) .. ' ' .. int(math.max(one.most, tonumber(most or '0'))) .. ' ' .. one.declared
    redis.call('HSET', LEARNT, family, head .. ' ' .. table.concat(parts, ','))
    -- Many of them may run at once from now on.
    if before < FEW and before + one.count >= FEW then redis.call('PUBLISH', WAKE, 'todo') end
  end
end
