-- What tasks of a family have been seen to need, and what one that asks for that (learn=FAMILY, memory 0) therefore declares.
--
-- LEARNT[family] = "COUNT MOST DECLARED B:N,B:N,…": how many attempts finished with a measured peak, the largest of these peaks in bytes, what one of the
-- last declared, and how many peaks fell into bucket B, which begins at 2^20 * 2^(B/3) bytes. model/learnt.rs reads the same.

local learnt = { amounts = {} }

-- So many tasks of a family finish before what they need counts as known.
local FEW = 5

-- Rounded up to two digits in GB, and to hundredths at least, as model/units.rs does.
local function two_digits_up(bytes)
  local hundredths = math.ceil((math.max(bytes, 1024) - 1024) * 100 / 1073741824)
  local unit = 1
  while hundredths / unit >= 100 do unit = unit * 10 end
  return math.ceil(math.ceil(hundredths / unit) * unit * 1073741824 / 100)
end

-- What 99 of 100 tasks of a family needed, and a fifth more; false while too few have finished. Looked up once a call.
function learnt.amount(family)
  local known = learnt.amounts[family]
  if known ~= nil then return known end
  known = false
  local count, most, counts = string.match(redis.call('HGET', LEARNT, family) or '', '^(%d+) (%d+) %S+ (.*)$')
  count = tonumber(count or '0')
  if count >= FEW then
    local in_bucket = {}
    for bucket, n in string.gmatch(counts, '(%d+):(%d+)') do in_bucket[tonumber(bucket)] = tonumber(n) end
    local above, bucket = 0, 63
    while bucket > 0 do
      above = above + (in_bucket[bucket] or 0)
      if above > math.floor(count / 100) then break end
      bucket = bucket - 1
    end
    known = two_digits_up(math.min(1048576 * 2 ^ ((bucket + 1) / 3), tonumber(most)) * 1.2)
  end
  learnt.amounts[family] = known
  return known
end

-- The memory of a lane of these needs, whose name says `mem`; and the family, where nothing is known of it yet.
function learnt.mem(needs, mem)
  local family = mem == 0 and needs ~= '' and needs_of(needs).learn
  if not family then return mem end
  local amount = learnt.amount(family)
  return amount or 0, not amount and family or nil
end

-- Whether a task of a family of which nothing is known yet may start here: one at a time does.
function learnt.may_start(family)
  if not learnt.running then
    learnt.running = {}
    for _, line in ipairs(redis.call('HKEYS', CLAIMS)) do
      local running = string.match(string.match(line, '^%a+(,[^:]*):') or '', ',learn=([^,]*)')
      if running then learnt.running[running] = true end
    end
  end
  return not learnt.running[family]
end

-- One of such a family starts.
function learnt.starts(family) learnt.running[family] = true end
