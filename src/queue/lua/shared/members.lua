-- Membership: which lines belong to which batches, and how many of each are open.
--
-- MEMBER[line] = "FLAG NAMES[ TAGS]". FLAG is o open, d done, x given up or cancelled, g gone unfinished. NAMES are names of batches or of their steps
-- ("s1,s2/prep"), the first of which decides the lane of the line. BATCH_N counts, for each level of each name: NAME open members, NAME .. "!" those given
-- up or gone, NAME .. "~" those of them that are gone, NAME .. "=" all there ever were, NAME .. "+" submissions under way (top level only). A flag and its
-- counters change in one script, guarded by the flag, so that a repeated call never counts twice. Counters are whole while READY .. "counts" is "1" and the
-- field BEGUN is among them, which vanishes with them where others delete them. While "counts" is "2" they are counted anew (recount.lua), and only lines in
-- the set READY .. "counted" are in them; without it nothing is. Nothing that needs a counter trusts one that is not whole.

local members = { known = {}, parsed = {}, changes = {}, flips = {}, written = {} }

-- Whether any line belongs to a batch.
function members.exist()
  if members.any == nil then members.any = redis.call('HLEN', MEMBER) > 0 end
  return members.any
end

-- Looks up many lines in few calls.
function members.read(lines)
  if not members.exist() then return end
  local unknown = {}
  for _, line in ipairs(lines) do
    if members.known[line] == nil then unknown[#unknown + 1] = line end
  end
  for i, value in ipairs(get_all(MEMBER, unknown)) do members.known[unknown[i]] = value end
end

-- What MEMBER has of a line; false for nothing.
function members.of(line)
  if not members.exist() then return false end
  local value = members.known[line]
  if value == nil then
    value = redis.call('HGET', MEMBER, line)
    members.known[line] = value
  end
  return value
end

-- The parts of a value, which many lines of a call share: its flag, names and first name, and the batch that decides the lane of the line.
function members.parse(value)
  local parts = members.parsed[value]
  if not parts then
    local flag, names = string.match(value, '^(%a) ([^ ]*)')
    local first = string.match(names or '', '^[^,]*') or ''
    parts = { flag = flag, names = names or '', first = first, batch = string.match(first, '^[^/]*') }
    members.parsed[value] = parts
  end
  return parts
end

-- The parts of what MEMBER has of a line; nil for nothing.
function members.parts_of(line)
  local value = members.of(line)
  return value and members.parse(value) or nil
end

-- The batch that decides the lane of a line; "" for none.
function members.batch_of(line)
  local parts = members.parts_of(line)
  return parts and parts.batch or ''
end

function members.top(name) return (string.match(name, '^[^/]*')) end

-- A field of BATCH_N that is there while nobody has deleted the counters since they were begun.
local BEGUN = '\tbegun'

-- Whether the counters can be trusted.
function members.are_whole()
  if not members.counts then
    local state = redis.call('HEXISTS', BATCH_N, BEGUN) == 1 and redis.call('GET', READY .. 'counts')
    members.counts = state or '0'
  end
  return members.counts == '1'
end

-- Where there are no members, no submissions and no counters yet, those that come are counted from the first one on.
function members.begin()
  if members.exist() or members.are_whole() then return end
  if redis.call('EXISTS', READY .. 'counts') == 1 or redis.call('HLEN', BATCH_SUBMITS) > 0 then return end
  redis.call('HSET', BATCH_N, BEGUN, 0)
  redis.call('SET', READY .. 'counts', '1')
  members.counts = '1'
end

-- Whether what happens to a line belongs into the counters now.
function members.is_counted(line)
  if members.are_whole() then return true end
  return members.counts == '2' and redis.call('SISMEMBER', READY .. 'counted', line) == 1
end

-- Every level of every name, each once: "s1/a,s1/b" is s1, s1/a and s1/b.
function members.levels(names)
  local levels, seen = {}, {}
  for name in string.gmatch(names, '[^,]+') do
    local at = 0
    while at do
      at = string.find(name, '/', at + 1, true)
      local level = at and string.sub(name, 1, at - 1) or name
      if not seen[level] then
        seen[level] = true
        levels[#levels + 1] = level
      end
    end
  end
  return levels
end

function members.add(field, by) members.flips[field] = (members.flips[field] or 0) + by end

function members.is_bad(flag) return (flag == 'x' or flag == 'g') and 1 or 0 end
function members.is_open(flag) return flag == 'o' and 1 or 0 end
function members.is_gone(flag) return flag == 'g' and 1 or 0 end

-- Notes the new value of a line; old is the one that it had, "" for none. Many lines of a call change alike: what their counters lose and gain is worked out
-- once for all of them, in members.flush.
function members.note(line, old, value)
  members.known[line], members.any = value, true
  local at = #members.written
  members.written[at + 1], members.written[at + 2] = line, value
  if not members.is_counted(line) then
    if members.counts ~= '2' or old ~= '' then return end
    redis.call('SADD', READY .. 'counted', line)
  end
  local alike = members.changes[old]
  if not alike then
    alike = {}
    members.changes[old] = alike
  end
  alike[value] = (alike[value] or 0) + 1
end

-- So many members more, or fewer, that have this value.
function members.count(value, by)
  local parts = members.parse(value)
  for _, level in ipairs(members.levels(parts.names)) do
    members.add(level, members.is_open(parts.flag) * by)
    members.add(level .. '!', members.is_bad(parts.flag) * by)
    members.add(level .. '=', by)
    if parts.flag == 'g' then members.add(level .. '~', by) end
  end
end

-- So many members that had one value and have another.
function members.recount(old, value, n)
  local before, after = members.parse(old), members.parse(value)
  if before.names ~= after.names then
    if old ~= '' then members.count(old, -n) end
    return members.count(value, n)
  end
  local open = (members.is_open(after.flag) - members.is_open(before.flag)) * n
  local bad = (members.is_bad(after.flag) - members.is_bad(before.flag)) * n
  local gone = (members.is_gone(after.flag) - members.is_gone(before.flag)) * n
  for _, level in ipairs(members.levels(after.names)) do
    members.add(level, open)
    if bad ~= 0 then members.add(level .. '!', bad) end
    if gone ~= 0 then members.add(level .. '~', gone) end
  end
end

-- Sets the flag of a line that belongs to a batch. members.flush makes it so.
function members.flip(line, flag)
  local old = members.of(line)
  if old and members.parse(old).flag ~= flag then members.note(line, old, flag .. string.sub(old, 2)) end
end

-- Makes a line a member of a batch too, with this flag where it is none of any. Tags are added. False if it belongs to as many as a line may.
function members.join(line, flag, name, tags)
  local old = members.of(line)
  if not old then
    members.note(line, '', flag .. ' ' .. name .. (tags ~= '' and ' ' .. tags or ''))
    return true
  end
  local old_flag, names, old_tags = string.match(old, '^(%a) ([^ ]*) ?(.*)$')
  local function with(list, more)
    for one in string.gmatch(more, '[^,]+') do
      if not string.find(',' .. list .. ',', ',' .. one .. ',', 1, true) then list = list == '' and one or list .. ',' .. one end
    end
    return list
  end
  names, tags = with(names, name), with(old_tags, tags)
  if select(2, string.gsub(names, ',', ',')) >= 8 then return false end
  local value = old_flag .. ' ' .. names .. (tags ~= '' and ' ' .. tags or '')
  if value ~= old then members.note(line, old, value) end
  return true
end

-- Forgets a line that has finished: its batch lacks nothing.
function members.forget(line)
  local value = members.of(line)
  if not value then return end
  if members.is_counted(line) then
    for _, level in ipairs(members.levels(members.parse(value).names)) do members.add(level .. '=', -1) end
  end
  redis.call('HDEL', MEMBER, line)
  members.known[line] = false
end

-- Takes a line that is gone out of a name that is being forgotten, and of the steps of that; of what a step belongs to it stays a member.
function members.leave(line, name)
  local value = members.of(line)
  local flag, names, tags = string.match(value or '', '^(%a) ([^ ]*)(.*)$')
  if flag ~= 'g' then return end
  local into, kept, stays = string.match(name, '^(.*)/[^/]*$'), {}, {}
  for one in string.gmatch(names, '[^,]+') do
    local is_within = one == name or string.sub(one, 1, #name + 1) == name .. '/'
    local to = not is_within and one or into
    if to and not stays[to] then
      stays[to] = true
      kept[#kept + 1] = to
    end
  end
  kept = table.concat(kept, ',')
  if kept == names then return end
  for _, level in ipairs(members.levels(kept)) do stays[level] = true end
  for _, level in ipairs(members.is_counted(line) and members.levels(names) or {}) do
    for _, what in ipairs(stays[level] and {} or { '!', '~', '=' }) do members.add(level .. what, -1) end
  end
  if kept == '' then redis.call('HDEL', MEMBER, line) else redis.call('HSET', MEMBER, line, flag .. ' ' .. kept .. tags) end
  members.known[line] = kept ~= '' and flag .. ' ' .. kept .. tags
end

-- Writes what was noted. Counters that grow come before the flags, and those that shrink after them, so that a script that stops half-way leaves gates
-- closed. at_zero(names) is called with the names that have no open member left, after all is written.
function members.flush(at_zero)
  for old, alike in pairs(members.changes) do
    for value, n in pairs(alike) do members.recount(old, value, n) end
  end
  members.changes = {}
  if #members.written == 0 and not next(members.flips) then return end
  local fields, more, less, zeros = {}, {}, {}, {}
  for field in pairs(members.flips) do fields[#fields + 1] = field end
  for i, old in ipairs(get_all(BATCH_N, fields)) do
    local field, by = fields[i], members.flips[fields[i]]
    local n, is_open_count = tonumber(old or '0'), not string.find(field, '[!=~]$')
    local left = (n or 0) + by
    -- A name whose first member has ended already becomes known with it.
    if by > 0 or (by == 0 and is_open_count and not old) then
      more[#more + 1], more[#more + 2] = field, int(left)
    elseif by < 0 then
      less[#less + 1], less[#less + 2] = field, int(left)
    end
    if left == 0 and is_open_count then zeros[#zeros + 1] = field end
    -- Others have written to the counters: they are counted anew.
    if not n or (by < 0 and left < 0) then members.is_miscounted = true end
  end
  bulk('HSET', BATCH_N, more)
  bulk('HSET', MEMBER, members.written)
  bulk('HSET', BATCH_N, less)
  if members.is_miscounted and members.are_whole() then
    redis.call('DEL', READY .. 'counts')
    members.counts = nil
  end
  members.flips, members.written, members.is_miscounted = {}, {}, nil
  if at_zero and #zeros > 0 then at_zero(zeros) end
end
