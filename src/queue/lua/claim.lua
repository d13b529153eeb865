-- Claims a batch: the best waiting tasks, in exact order of priority and then submission, that fit the room.
--
-- The lines after the arguments are passed over. The state of the reply is OK, STOP (the stop command), PAUSED, DRAIN, ORDER (the queue has another
-- field order: nothing is taken), or FENCED.
-- Guarantees: a line is written to in_progress_tasks and to the claims before it leaves todo_tasks. A line that is already finished or in progress is
-- removed from todo_tasks. The cost is bounded: at most (slots + ahead_slots) * 2 + 64 candidates and each class once are examined; the reply holds about
-- 256 KiB of lines.
-- The first task that is larger than ahead_mem or ahead_cpu ends the prefetch.
--
-- Suspects (reclaim.lua) of level 1 and 2 run apart, so that the task that kills workers is found and no other task is blamed for it: a worker runs one
-- suspect at a time. A suspect of level 1 runs only beside tasks whose start a heartbeat has reported, one of level 2 beside nothing. Nothing starts beside
-- a suspect until it has run longer, by a margin, than it had when its worker was lost. Only one worker at a time makes room for a suspect; the others pass
-- suspects over. A suspect of level 0 is only never claimed ahead.
-- Records: ARG, REPLY, ROW, in queue/records.rs.

local worker, token = ARGV[ARG.worker], ARGV[ARG.token]
if not is_owner(worker, ARGV[ARG.fence]) then return { 'FENCED' } end
local want, mem, cpu = tonumber(ARGV[ARG.slots]), tonumber(ARGV[ARG.mem]), tonumber(ARGV[ARG.cpu])
local ahead, ahead_mem, ahead_cpu = tonumber(ARGV[ARG.ahead_slots]), tonumber(ARGV[ARG.ahead_mem]), tonumber(ARGV[ARG.ahead_cpu])
local cap_mem, cap_cpu = tonumber(ARGV[ARG.offer_mem]) or -1, tonumber(ARGV[ARG.offer_cpu]) or -1
local dead_ms, starve_ms, avoid_ms = tonumber(ARGV[ARG.dead_after]), tonumber(ARGV[ARG.starve_after]), tonumber(ARGV[ARG.avoid])
local skip = {}
for i = ARG.size + 1, #ARGV do skip[ARGV[i]] = true end
-- A line that this worker has yet to stop must not be claimed again: the order to stop would end the new claim.
if redis.call('HLEN', REVOKED) > 0 then
  for _, line in ipairs(redis.call('HKEYS', REVOKED)) do skip[line] = true end
end

local waiting = redis.call('HLEN', TODO)
local state = 'OK'
if not order_agrees(ARGV[ARG.order]) then
  state = 'ORDER'
elseif waiting > 0 and redis.call('HEXISTS', TODO, STOP_FIELD) == 1 then
  waiting = waiting - 1
  state = 'STOP'
elseif redis.call('EXISTS', PAUSED) == 1 then
  state = 'PAUSED'
elseif redis.call('HEXISTS', DRAIN, worker) == 1 then
  state = 'DRAIN'
end
local function indexed() return tonumber(redis.call('GET', COUNT) or '0') end
-- A reply without claims.
local function nothing(state, next_timer_ms)
  return {
    [REPLY.state] = state, [REPLY.waiting] = waiting, [REPLY.indexed] = indexed(), [REPLY.has_leftovers] = waiting > 0 and 1 or 0,
    [REPLY.reserved] = '', [REPLY.next_timer_ms] = next_timer_ms, [REPLY.started] = 0,
  }
end
if state ~= 'OK' then return nothing(state, -1) end

local now = now_ms()
-- Every line with a timer is in HELD: an empty HELD needs no further call.
local has_timers = redis.call('HLEN', HELD) > 0
if has_timers then index_timers(now, avoid_ms) end

-- How long a suspect runs apart: a little longer than before its worker was lost. A suspect that had run for long is an unlikely culprit, so its time is
-- bounded; the bound grows with each loss.
local function apart_for(line)
  local ms = tonumber(string.match(redis.call('HGET', APART, line) or '', '^%d|(%d+)$') or '0')
  local most = 20000 * 8 ^ math.min(6, math.max(0, tonumber(redis.call('HGET', LOST, line) or '1') - 1))
  return math.floor(ms <= most and ms * 1.25 + 500 or most / 2)
end

if has_suspects() then
  local by = redis.call('HGET', APART_BY, worker)
  local since, ms, line = string.match(by or '', '^(%d+)|(%d+)|(.*)$')
  if line and redis.call('HEXISTS', CLAIMS, line) == 1 then
    -- The start is in the future: the server's clock was set back.
    if tonumber(since) > now then
      since = int(now)
      redis.call('HSET', APART_BY, worker, since .. '|' .. ms .. '|' .. line)
    end
    local left = tonumber(since) + tonumber(ms) - now
    if left > 0 then
      redis.call('HDEL', IDLE, worker)
      return nothing('OK', left)
    end
    redis.call('HDEL', APART, line)
  end
  if by then redis.call('HDEL', APART_BY, worker) end
  -- A line that a Python worker or a person has dealt with is no longer a suspect. Each call checks one.
  local one = redis.call('HRANDFIELD', APART)
  if one and redis.call('HEXISTS', TODO, one) == 0 and redis.call('HEXISTS', IN_PROGRESS, one) == 0 then redis.call('HDEL', APART, one) end
end

-- Our live workers that take tasks. They are read only when a retry is found that this worker has failed.
local live
local function live_workers()
  if live then return live end
  live = {}
  local capacity = redis.call('HGETALL', CAPACITY)
  for i = 1, #capacity, 2 do
    local beat = string.match(redis.call('HGET', STATUS, capacity[i]) or '', '^(%d+)')
    if beat and now - tonumber(beat) * 1000 < dead_ms + 1000 then
      local m, c = string.match(capacity[i + 1], '^(%d+):(%d+)$')
      if m then live[#live + 1] = { ',' .. capacity[i] .. ',', tonumber(m), tonumber(c) } end
    end
  end
  return live
end

-- Whether this worker failed it and another that has not could run it.
local function leave_to_others(class)
  if class.workers == '' then return false end
  local failed = ',' .. class.workers
  if not string.find(failed, ',' .. worker .. ',', 1, true) then return false end
  for _, other in ipairs(live_workers()) do
    if class.mem <= other[2] and class.cpu <= other[3] and not string.find(failed, other[1], 1, true) then return true end
  end
  return false
end

-- Every parked class asks for more than the amounts in ABOVE. A worker that offers more than those restores the scores of parked classes before it claims
-- anything, MOST_PARKED in each call.
local ABOVE = READY .. 'parked'
local MOST_PARKED = 1024
local old_mem, old_cpu = string.match(redis.call('GET', ABOVE) or '', '^(%d+):(%d+)$')
if old_mem and (cap_mem > tonumber(old_mem) or cap_cpu > tonumber(old_cpu)) then
  local parked = redis.call('ZRANGEBYSCORE', CLASS_HEADS, int(PARKED), '+inf', 'LIMIT', 0, MOST_PARKED)
  for _, class in ipairs(parked) do index_head(class) end
  if #parked == MOST_PARKED then return nothing('OK', 0) end
  redis.call('DEL', ABOVE)
  old_mem = nil
end

-- Parks classes that no live worker could run, after the first 16 of them. The margin of a quarter allows for the offer of a node, which varies.
local beyond, to_park, above_mem, above_cpu = 0, {}, nil, nil
local function pass_beyond(class)
  if class.is_beyond then return end
  class.is_beyond = true
  beyond = beyond + 1
  if beyond <= 16 then return end
  if not above_mem then
    above_mem, above_cpu = cap_mem, cap_cpu
    for _, capacity in ipairs(redis.call('HVALS', CAPACITY)) do
      local m, c = string.match(capacity, '^(%d+):(%d+)$')
      if m then above_mem, above_cpu = math.max(above_mem, tonumber(m)), math.max(above_cpu, tonumber(c)) end
    end
    above_mem, above_cpu = math.ceil(math.max(above_mem, 0) * 1.25), math.ceil(math.max(above_cpu, 0) * 1.25)
  end
  if class.mem > above_mem or class.cpu > above_cpu then
    to_park[#to_park + 1] = int(class.head + PARKED)
    to_park[#to_park + 1] = class.name
  end
end

-- The classes in order of their heads, read 64 at a time. CLASS_HEADS does not change until the end.
local heads, heads_from, heads_done = {}, 0, false
local function head_at(i)
  while i > #heads and not heads_done do
    local page = redis.call('ZRANGEBYSCORE', CLASS_HEADS, '-inf', '(' .. int(PARKED), 'WITHSCORES', 'LIMIT', heads_from, 64)
    heads_from = heads_from + 64
    if #page < 128 then heads_done = true end
    for k = 1, #page, 2 do
      local m, c, workers = string.match(page[k], '^(%d+):(%d+):(.*)$')
      local level = string.match(workers, '^!(%d),$')
      heads[#heads + 1] = { name = page[k], mem = tonumber(m), cpu = tonumber(c), workers = level and '' or workers, level = level, score = tonumber(page[k + 1]), head = tonumber(page[k + 1]),
        from = 0, lines = {}, at = 0, taken = {} }
    end
  end
  return heads[i]
end

local has_finished = redis.call('HLEN', FINISHED) > 0

-- Moves a class to its next candidate; false when it has none left. A page of n is looked up in few calls.
local function advance(class, n)
  while true do
    class.at = class.at + 2
    if class.at > #class.lines then
      class.lines = redis.call('ZRANGE', READY .. 'c:' .. class.name, class.from, class.from + n - 1, 'WITHSCORES')
      class.from = class.from + n
      class.at = 2
      if #class.lines == 0 then class.empty = true; return false end
      local page = {}
      for i = 1, #class.lines, 2 do page[#page + 1] = class.lines[i] end
      class.waits, class.runs = get_all(TODO, page), get_all(IN_PROGRESS, page)
    end
    class.line, class.score = class.lines[class.at - 1], tonumber(class.lines[class.at])
    if not skip[class.line] then return true end
  end
end

-- A reservation of ours forbids backfilling: nothing that comes after the reserved task may start before it.
local limit, reserved = nil, nil
if redis.call('HLEN', RESERVED) > 0 then
  local all = redis.call('HGETALL', RESERVED)
  for i = 1, #all, 2 do
    local holder, untl = string.match(all[i + 1], '^(.*)|(%d+)$')
    -- A time in the far future is from before the server's clock was set back.
    if tonumber(untl) < now or tonumber(untl) > now + math.max(dead_ms, 15000) + 60000 then
      redis.call('HDEL', RESERVED, all[i])
    elseif holder == worker then
      local head = redis.call('ZRANGE', READY .. 'c:' .. all[i], 0, 0, 'WITHSCORES')
      local m, c = string.match(all[i], '^(%d+):(%d+):')
      -- The reservation is given up if even the empty node could not run the task, or if the task is gone.
      if head[1] and tonumber(m) <= cap_mem and tonumber(c) <= cap_cpu and redis.call('HEXISTS', TODO, head[1]) == 1 then
        reserved = { name = all[i], line = head[1] }
        limit = tonumber(head[2])
      else
        redis.call('HDEL', RESERVED, all[i])
        redis.call('HDEL', BLOCKED, all[i])
      end
    end
  end
end

local out, picked, stale, touched, blocked = {}, {}, {}, {}, nil

-- Whether a suspect of this level can start beside what runs here without blaming any of it.
local settled = {}
local function is_settled(level)
  if settled[level] == nil then
    local claims = redis.call('HVALS', CLAIMS)
    settled[level] = #claims == 0 or level == '1'
    for _, claim in ipairs(claims) do
      if select(3, claim_parts(claim)) ~= '1' then settled[level] = false end
    end
  end
  return settled[level]
end

-- Whether this worker makes room for suspects: one worker at a time does. For level 2 it does so for a minute at most, and then not for ten minutes.
local function makes_room(level)
  local holder, untl, since = string.match(redis.call('HGET', APART_BY, '') or '', '^(.*)|(%d+)|(%d+)$')
  local lease = math.max(dead_ms, 15000)
  local is_valid = holder and tonumber(untl) >= now and tonumber(untl) <= now + lease
  if is_valid and holder ~= worker then return false end
  if holder ~= worker or tonumber(since) > now or now - tonumber(since) > 660000 then since = int(now) end
  if level == '2' and now - tonumber(since) > 60000 then return false end
  redis.call('HSET', APART_BY, '', worker .. '|' .. int(now + lease) .. '|' .. since)
  return true
end

-- What to do with a suspect that is next: "run" it apart, "wait" with everything behind it, "pass" it over, or nil: claim it like any other task. No
-- suspect is claimed ahead.
local function suspect(class, is_now)
  if not is_now then return 'pass' end
  if class.level == '0' then return nil end
  if #out == 0 and is_settled(class.level) then return 'run' end
  return makes_room(class.level) and 'wait' or 'pass'
end
local apart, waits
local budget = (want + ahead) * 2 + 64
-- Bytes of lines in the reply, which a slow link must carry in time.
local bytes, most_bytes = 0, 262144

-- The prefetch passes nothing over: a prefetched task must be the one that a slot would take next.
local function pick(count, free_mem, free_cpu, is_now)
  local open, next_head, barrier = {}, 1, nil
  local function close(class)
    for i = #open, 1, -1 do
      if open[i] == class then table.remove(open, i) end
    end
  end
  for _, class in pairs(touched) do
    if class.is_taken then
      class.is_taken = nil
      advance(class, math.max(4, math.min(count, 64)))
    end
  end
  while count > 0 and budget > 0 and bytes < most_bytes do
    local best
    for i = #open, 1, -1 do
      local class = open[i]
      if class.mem > free_mem or class.cpu > free_cpu then
        if is_now and (not blocked or class.score < blocked.score) and class.mem <= cap_mem and class.cpu <= cap_cpu then blocked = class end
        table.remove(open, i)
      elseif not best or class.score < best.score then
        best = class
      end
    end
    while true do
      local class = head_at(next_head)
      -- Compare the score that the class had at first: a class that the first pick has advanced must not hide those behind it.
      if not class or (best and class.head > best.score) then break end
      -- The next call, which follows at once, parks the rest.
      if #to_park >= 2 * MOST_PARKED then return count end
      next_head = next_head + 1
      if not class.empty and not leave_to_others(class) then
        if class.mem <= free_mem and class.cpu <= free_cpu then
          if class.at > 0 or advance(class, math.max(4, math.min(count, 64))) then
            open[#open + 1] = class
            if not best or class.score < best.score then best = class end
          end
        elseif class.mem <= cap_mem and class.cpu <= cap_cpu then
          if is_now and (not blocked or class.score < blocked.score) then blocked = class end
          if not barrier or class.score < barrier then barrier = class.score end
        else
          pass_beyond(class)
        end
      end
    end
    if not best or (limit and best.score > limit) or (not is_now and barrier and best.score > barrier) then return count end
    local verdict = best.level and suspect(best, is_now)
    if verdict == 'wait' then
      waits = true
      return count
    end
    if verdict == 'pass' then
      best.empty = true
      close(best)
    else
      budget = budget - 1
      local line, at = best.line, best.at / 2
      touched[best.name] = best
      best.taken[#best.taken + 1] = line
      if not best.waits[at] then
        -- stale: somebody removed it behind our back
      elseif best.runs[at] or (has_finished and redis.call('HEXISTS', FINISHED, line) == 1) then
        stale[#stale + 1] = line
      else
        out[#out + 1] = line
        bytes = bytes + #line
        picked[#out] = { best.name, best.score, best.mem, best.cpu }
        count = count - 1
        if is_now then
          free_mem, free_cpu = free_mem - best.mem, free_cpu - best.cpu
        end
        if verdict == 'run' then
          apart = line
          best.is_taken = true
          return count
        end
      end
      if count == 0 then
        best.is_taken = true
      elseif not advance(best, math.max(4, math.min(count, 64))) then
        close(best)
      end
    end
  end
  return count
end

local started = 0
if want > 0 then started = want - pick(want, mem, cpu, true) end
if ahead > 0 and started == want and not limit and not apart and not waits then pick(ahead, ahead_mem, ahead_cpu, false) end

-- Record the room that stays free, so that a script that adds tasks wakes this worker.
if apart then
  redis.call('HDEL', IDLE, worker)
elseif started < want and bytes < most_bytes then
  local used_mem, used_cpu = 0, 0
  for i = 1, started do used_mem, used_cpu = used_mem + picked[i][3], used_cpu + picked[i][4] end
  redis.pcall('HSET', IDLE, worker, int(math.max(0, mem - used_mem)) .. ':' .. int(math.max(0, cpu - used_cpu)) .. ':' .. int(want - started))
elseif want > 0 then
  redis.call('HDEL', IDLE, worker)
end

local reply = {
  [REPLY.state] = 'OK', [REPLY.waiting] = 0, [REPLY.indexed] = 0, [REPLY.has_leftovers] = 0, [REPLY.reserved] = '', [REPLY.next_timer_ms] = -1,
  [REPLY.started] = started,
}
if #out > 0 then
  local attempts = redis.call('HMGET', ATTEMPTS, unpack(out))
  local signatures = ARGV[ARG.wants_signatures] == '1' and get_all(SIGNATURES, out)
  local claims, ms = {}, int(now)
  for i, line in ipairs(out) do
    local attempt = (tonumber(attempts[i] or '0') or 0) + 1
    -- A claim with a slot counts as started at once: if the worker dies before its next heartbeat, the task counts as lost.
    claims[i] = claim_text(token, int(attempt), i <= started and '2' or '0', int(picked[i][2]), ms)
    local at = REPLY.size + ROW.size * (i - 1) + 1
    reply[at + ROW.line] = line
    reply[at + ROW.attempt] = attempt
    reply[at + ROW.signature] = signatures and signatures[i] or ''
  end
  enter_progress(worker, out, claims)
end
if #stale > 0 then bulk('HDEL', TODO, stale) end
local apart_ms = apart and apart_for(apart)
if apart then redis.call('HSET', APART_BY, worker, int(now) .. '|' .. int(apart_ms) .. '|' .. apart) end
for name, class in pairs(touched) do
  index_delta = index_delta - bulk('ZREM', READY .. 'c:' .. name, class.taken)
  if class.workers ~= '' or class.level then
    bulk('HDEL', HELD, class.taken)
    bulk('ZREM', RETRY_ELSEWHERE, class.taken)
  end
  index_head(name)
end
index_flush()

-- Reserve for a task that fits this node, but not its room, and has been passed over for starve_ms.
if reserved and touched[reserved.name] then
  redis.call('HDEL', RESERVED, reserved.name)
  redis.call('HDEL', BLOCKED, reserved.name)
  reserved = nil
end
if blocked and want > 0 then
  local line = blocked.line or redis.call('ZRANGE', READY .. 'c:' .. blocked.name, 0, 0)[1]
  local since, seen = string.match(redis.call('HGET', BLOCKED, blocked.name) or '', '^(%d+)|(.*)$')
  if line and seen == line and tonumber(since) <= now then
    if now - tonumber(since) >= starve_ms then
      local holder = string.match(redis.call('HGET', RESERVED, blocked.name) or '', '^(.*)|%d+$')
      if not holder or holder == worker then
        redis.call('HSET', RESERVED, blocked.name, worker .. '|' .. int(now + math.max(dead_ms, 15000)))
        reserved = { line = line }
      end
    end
  elseif line then
    redis.call('HSET', BLOCKED, blocked.name, int(now) .. '|' .. line)
  end
end
if reserved then reply[REPLY.reserved] = reserved.line end

reply[REPLY.waiting] = waiting - #out - #stale
reply[REPLY.indexed] = indexed()
if ARGV[ARG.wants_leftovers] == '1' then
  local function fits(class)
    local m, c = string.match(class, '^(%d+):(%d+):')
    return m and tonumber(m) <= cap_mem and tonumber(c) <= cap_cpu
  end
  -- Lines in backoff are examined 64 at a time, and classes one by one. What is not examined counts as a line that this node could run.
  local could, from = #to_park >= 2 * MOST_PARKED, 0
  while not could do
    local page = redis.call('ZRANGE', DELAYED, from, from + 63)
    if #page == 0 then break end
    for _, held in ipairs(get_all(HELD, page)) do
      local class = held and select(3, held_parts(held))
      could = could or (class and fits(class))
    end
    from = from + 64
    could = could or from >= 4096
  end
  local i = 1
  while not could do
    local class = head_at(i)
    if not class then break end
    could = class.mem <= cap_mem and class.cpu <= cap_cpu
      and redis.call('EXISTS', READY .. 'c:' .. class.name) == 1
    i = i + 1
  end
  reply[REPLY.has_leftovers] = could and 1 or 0
end
for _, timers in ipairs(has_timers and { DELAYED, RETRY_ELSEWHERE } or {}) do
  local first = redis.call('ZRANGE', timers, 0, 0, 'WITHSCORES')[2]
  if first then
    local wait = math.max(0, tonumber(first) - index_now(now))
    if reply[REPLY.next_timer_ms] < 0 or wait < reply[REPLY.next_timer_ms] then reply[REPLY.next_timer_ms] = wait end
  end
end
if reply[REPLY.next_timer_ms] >= 0 then index_keep_time(now) end
-- There is more: the worker claims again at once.
if bytes >= most_bytes or #to_park >= 2 * MOST_PARKED then reply[REPLY.next_timer_ms] = 0 end
local again = apart_ms or (waits and 1000)
if again and (reply[REPLY.next_timer_ms] < 0 or again < reply[REPLY.next_timer_ms]) then reply[REPLY.next_timer_ms] = again end
-- Parking comes last: it changes the order of the heads, which are read in pages above.
if #to_park > 0 then
  -- Keep the least amounts since parking began: some classes were parked when workers offered less.
  if old_mem then above_mem, above_cpu = math.min(above_mem, tonumber(old_mem)), math.min(above_cpu, tonumber(old_cpu)) end
  redis.call('SET', ABOVE, int(above_mem) .. ':' .. int(above_cpu))
  bulk('ZADD', CLASS_HEADS, to_park, 'XX')
end
return reply
