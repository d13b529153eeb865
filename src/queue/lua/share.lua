-- Keeps what fair share counts true.
--
-- "add" counts the lines that follow, with their classes, if they are in progress; "sum" drops those that are not any more, and adds up the rest anew. Both
-- do nothing while there is no share. Returns how many lines were added or dropped.
-- Records: ARG, EACH, in queue/records.rs.

if not shares.mode() then return 0 end
local changed = 0
if ARGV[ARG.op] == 'add' then
  local lines = {}
  for i = ARG.size + 1, #ARGV, EACH.size do
    lines[#lines + 1] = ARGV[i + EACH.line]
    shares.note(ARGV[i + EACH.line], ARGV[i + EACH.class])
  end
  local present, runs, counted = {}, get_all(IN_PROGRESS, lines), get_all(USING_OF, lines)
  for i, line in ipairs(lines) do
    if runs[i] and not counted[i] then present[#present + 1] = line end
  end
  members.read(present)
  shares.enter(present)
  changed = #present
else
  local all, lines, gone, sums = redis.call('HGETALL', USING_OF), {}, {}, {}
  for i = 1, #all, 2 do lines[#lines + 1] = all[i] end
  for i, worker in ipairs(get_all(IN_PROGRESS, lines)) do
    local batch, cost = string.match(all[2 * i], '^([^|]*)|(%d+)$')
    if worker and batch then
      sums[batch] = (sums[batch] or 0) + cost
    else
      gone[#gone + 1] = lines[i]
    end
  end
  changed = #gone
  bulk('HDEL', USING_OF, gone)
  for _, batch in ipairs(redis.call('HKEYS', USING)) do
    if not sums[batch] then redis.call('HDEL', USING, batch) end
  end
  for batch, sum in pairs(sums) do redis.call('HSET', USING, batch, int(sum)) end
end
return changed
