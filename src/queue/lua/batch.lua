-- Begins and ends submissions to batches, and changes what is known of a batch.
--
-- Returns: how many batches it changed; of forget and forgotten, FORGOTTEN.
-- Guarantees: the call is safe to repeat. A submission counts as under way from its begin to its end, so that no gate on its batch opens in between. The
-- end also closes submissions of the same batches that were cut short: those that have added nothing for 60 s.
-- Records: ARG, EACH, in queue/records.rs.

local op, id, by = ARGV[ARG.op], ARGV[ARG.submission], ARGV[ARG.value]
local now = math.floor(now_ms() / 1000)
local changed = 0

-- Counts a submission as under way, unless it is. One of its name that has ended may be there still.
local function begins(batch, field, times)
  if string.match(redis.call('HGET', BATCH_SUBMITS, field) or '', '^%d') then return end
  redis.call('HSET', BATCH_SUBMITS, field, times)
  redis.call('HINCRBY', BATCH_N, batch .. '+', 1)
end

-- A submission that has ended stays in BATCH_SUBMITS as "ended" until a worker takes it away: a submitter may take nothing away. It is "over" if nothing of
-- the batch is left, so that with it the batch has ended.
local function ends(batch, field)
  if not string.match(redis.call('HGET', BATCH_SUBMITS, field) or '', '^%d') then return end
  redis.call('HSET', BATCH_SUBMITS, field, redis.call('HGET', BATCH_N, batch) == '0' and 'over' or 'ended')
  if redis.call('HINCRBY', BATCH_N, batch .. '+', -1) < 0 then redis.call('HINCRBY', BATCH_N, batch .. '+', 1) end
  redis.call('ZADD', READY .. 'opening', 0, 'd:' .. batch)
  changed = changed + 1
end

local submissions
local function submissions_of(batch)
  if not submissions then
    submissions = {}
    local all = redis.call('HGETALL', BATCH_SUBMITS)
    for i = 1, #all, 2 do
      local of = string.match(all[i], '^[^\t]*')
      submissions[of] = submissions[of] or {}
      submissions[of][all[i]] = all[i + 1]
    end
  end
  return submissions[batch] or {}
end

-- A name that is being forgotten counts as a submission to its batch, so that none of its gates opens while it has ever fewer members that are gone.
local FORGETS = '\tforget '
local function is_added_to(batch)
  for field, times in pairs(submissions_of(batch)) do
    if string.find(times, '^%d') and not string.find(field, FORGETS, 1, true) then return true end
  end
  return false
end

-- Whether a line may wait for a name, or for a step of it. A line stands behind one of its gates, and what else it waits for is in it alone; one that a gate
-- has let go is judged again when it is claimed, and its lane does not say what it waited for. Of very many gates and lines it is not known.
local function may_be_waited_for(name)
  for _, cell in ipairs(redis.call('ZRANGE', CELLS, 0, -1)) do
    if gates.are_among(string.match(cell, '^[^/]*/[^/]*/([^:]*):') or '') then return true end
  end
  for _, lane in ipairs(redis.call('HKEYS', READY .. 'parked')) do
    if gates.has(lane) then return true end
  end
  -- Lines that failed and wait for their next attempt.
  if redis.call('HLEN', HELD) > 2000 or redis.call('SCARD', READY .. 'gates') > 1000 then return true end
  for _, held in ipairs(redis.call('HVALS', HELD)) do
    if gates.has(select(3, held_parts(held)) or '') then return true end
  end
  local left = 2000
  for _, gate in ipairs(redis.call('SMEMBERS', READY .. 'gates')) do
    local behind = redis.call('ZRANGE', READY .. gate, 0, left)
    left = left - #behind
    if left < 0 then return true end
    for _, entry in ipairs(behind) do
      for key, awaited in string.gmatch(string.match(entry, '\t%a+,([^:]*):') or '', '([^,=]+)=([^,]*)') do
        local is_within = awaited == name or string.sub(awaited, 1, #name + 1) == name .. '/'
        if is_within and (key == 'after' or key == 'afterany') then return true end
      end
    end
  end
  return false
end

for i = ARG.size + 1, #ARGV, EACH.size do
  local batch, record, expected = ARGV[i + EACH.name], ARGV[i + EACH.record], ARGV[i + EACH.expected]
  local field = batch .. '\t' .. id
  if op == 'begin' then
    members.begin()
    begins(batch, field, int(now) .. ':' .. int(now))
    -- It is known from now on; if nothing is added to it, its gates open with the end of the submission.
    redis.call('HSETNX', BATCH_N, batch, 0)
    redis.call('SADD', READY .. 'due:' .. batch, batch)
    -- Somebody else has changed the record since it was read: the caller reads it again.
    if (redis.call('HGET', BATCHES, batch) or '') == expected then
      if record ~= expected then redis.call('HSET', BATCHES, batch, record) end
      changed = changed + 1
    end
  elseif op == 'step' then
    for _, level in ipairs(members.levels(batch)) do
      if redis.call('HSETNX', BATCH_N, level, 0) == 1 then redis.call('SADD', READY .. 'due:' .. members.top(batch), level) end
    end
    changed = changed + 1
  elseif op == 'end' then
    ends(batch, field)
    for other, times in pairs(submissions_of(batch)) do
      local last = tonumber(string.match(times, '^%d+:(%d+)'))
      -- What is complete says that the others add nothing more: each counts as cut short when it has been silent for long enough (release.lua).
      if last and now - last >= 60 then ends(batch, other)
      elseif last and other ~= field then redis.call('HSET', BATCH_SUBMITS, other, string.gsub(times, ':s$', '') .. ':s') end
    end
  elseif op == 'close' then
    for other in pairs(submissions_of(batch)) do
      if not string.find(other, FORGETS, 1, true) then ends(batch, other) end
    end
  elseif op == 'open' then
    -- More is to come, however long it takes.
    begins(batch, batch .. '\topen', int(now) .. ':')
    changed = changed + 1
  elseif op == 'forget' then
    -- All its tasks are gone, unfinished; or, where "empty" is given, all had finished. While something may wait for it, that must not be forgotten. What was begun is brought to its end.
    local top = members.top(batch)
    local mark = top .. FORGETS .. batch
    local n = redis.call('HMGET', BATCH_N, batch, batch .. '!', batch .. '~', batch .. '=')
    local are_gone = n[1] == '0' and tonumber(n[4] or '0') > 0 and n[2] == n[4] and n[3] == n[4]
    are_gone = are_gone or (by == 'empty' and n[1] == '0' and tonumber(n[4] or '0') == 0)
    if redis.call('HEXISTS', BATCH_SUBMITS, mark) == 1 then
      changed = FORGOTTEN.yes
    elseif are_gone and members.are_whole() and not is_added_to(top) then
      if may_be_waited_for(batch) then
        changed = FORGOTTEN.waited_for
      else
        begins(top, mark, int(now) .. ':')
        changed = FORGOTTEN.yes
      end
    end
  elseif op == 'leave' then
    -- The name is a line that is gone, of the name in by.
    if redis.call('HEXISTS', BATCH_SUBMITS, members.top(by) .. FORGETS .. by) == 1 then members.leave(batch, by) end
  elseif op == 'forgotten' then
    -- A step of the name in by, or that itself, which comes last. What somebody has added to meanwhile stays known.
    local top = members.top(by)
    local mark = top .. FORGETS .. by
    if redis.call('HEXISTS', BATCH_SUBMITS, mark) == 1 and members.are_whole() then
      local n = redis.call('HMGET', BATCH_N, batch, batch .. '=')
      local is_empty = tonumber(n[1] or '0') == 0 and tonumber(n[2] or '0') == 0
      if is_empty and (batch ~= top or not is_added_to(top)) then
        for _, what in ipairs { '', '!', '~', '=', '+' } do redis.call('HDEL', BATCH_N, batch .. what) end
        for _, key in ipairs { BATCHES, BATCH_HELD, BATCH_FAILS, BATCH_WAIVED } do redis.call('HDEL', key, batch) end
        changed = FORGOTTEN.yes
      end
      for other in pairs(batch == by and submissions_of(top) or {}) do
        if other == mark or (changed == FORGOTTEN.yes and batch == top) then
          redis.call('HDEL', BATCH_SUBMITS, other)
          if redis.call('HEXISTS', BATCH_N, top .. '+') == 1 then redis.call('HINCRBY', BATCH_N, top .. '+', -1) end
          redis.call('ZADD', READY .. 'opening', 0, 'd:' .. top)
        end
      end
    end
  elseif op == 'waive' then
    changed = changed + redis.call('HSET', BATCH_WAIVED, batch, by)
    turns.turn { batch }
  elseif op == 'hold' then
    changed = changed + redis.call('HSETNX', BATCH_HELD, batch, by)
  elseif op == 'go_on' then
    changed = changed + redis.call('HDEL', BATCH_HELD, batch)
    redis.call('HDEL', BATCH_FAILS, batch)
    redis.call('ZREM', READY .. 'chores', 'x:' .. batch)
    local parked = redis.call('HGETALL', READY .. 'parked')
    for k = 1, #parked, 2 do
      if parked[k + 1] == batch then
        index_heads { parked[k] }
        redis.call('HDEL', READY .. 'parked', parked[k])
      end
    end
  end
end
members.flush()
if changed > 0 and (op == 'end' or op == 'close' or op == 'waive' or op == 'go_on') then redis.call('PUBLISH', WAKE, 'todo') end
return changed
