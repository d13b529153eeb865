-- Claims a batch: the best waiting tasks, in exact order of priority and then submission, that fit the room.
--
-- The lines after the arguments are passed over. The state of the reply is OK, STOP (the stop command), PAUSED, DRAIN, ORDER (the queue has another
-- field order: nothing is taken), or FENCED.
-- Guarantees: a line is written to in_progress_tasks and to the claims before it leaves todo_tasks. A line that is already finished or in progress is
-- removed from where it waits. The cost is bounded: at most (slots + prefetch_slots) * 2 + 64 candidates are examined, each cell once, and lanes only of cells
-- at the edge of the room and of those that give something; the reply holds about 256 KiB of lines.
-- The first task that is larger than prefetch_mem or prefetch_cpu, asks for a named resource, or counts against a limit that is not full, ends the prefetch. Of
-- a family whose memory is not known yet (learnt.lua) one task at a time is claimed.
-- Records: ARG, REPLY, ROW, in queue/records.rs.

local worker, token = ARGV[ARG.worker], ARGV[ARG.token]
if not is_owner(worker, ARGV[ARG.fence]) then return { 'FENCED' } end
local want, mem, cpu = tonumber(ARGV[ARG.slots]), tonumber(ARGV[ARG.room_mem]), tonumber(ARGV[ARG.room_cpu])
local prefetch, prefetch_mem, prefetch_cpu = tonumber(ARGV[ARG.prefetch_slots]), tonumber(ARGV[ARG.prefetch_mem]), tonumber(ARGV[ARG.prefetch_cpu])
local cap_mem, cap_cpu = tonumber(ARGV[ARG.offer_mem]) or -1, tonumber(ARGV[ARG.offer_cpu]) or -1
local dead_ms, starve_ms, avoid_ms = tonumber(ARGV[ARG.dead_after]), tonumber(ARGV[ARG.starve_after]), tonumber(ARGV[ARG.avoid])
local skip = {}
for i = ARG.size + 1, #ARGV do skip[ARGV[i]] = true end
-- A line that this worker has yet to stop must not be claimed again: the order to stop would end the new claim.
if redis.call('HLEN', REVOKED) > 0 then
  for _, line in ipairs(redis.call('HKEYS', REVOKED)) do skip[line] = true end
end

local waiting = waiting_total()
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
    [REPLY.reserved] = '', [REPLY.next_timer_ms] = next_timer_ms, [REPLY.started] = 0, [REPLY.reserved_mem] = 0,
  }
end
if state ~= 'OK' then return nothing(state, -1) end

local now = now_ms()
-- Every line with a timer is in HELD: an empty HELD needs no further call.
local has_timers = redis.call('HLEN', HELD) > 0
if has_timers then index_timers(now, avoid_ms) end
-- Gates that have opened are emptied first, so that the order is exact among all that may run.
local has_gates = redis.call('EXISTS', READY .. 'gates') == 1
if has_gates then
  gates.open_by_time(now)
  gates.release((want + prefetch) * 2)
end
if members.exist() and redis.call('HLEN', BATCH_HELD) > 0 then
  for _, batch in ipairs(redis.call('HKEYS', BATCH_HELD)) do held_batches[batch] = true end
end

isolation.by, isolation.now, isolation.lease = worker, now, math.max(dead_ms, 15000)
if has_suspects() then
  local left = isolation.goes_on()
  if left then
    redis.call('HDEL', IDLE, worker)
    return nothing('OK', left)
  end
  isolation.check_one()
end

limits.me = traits_of(ARGV[ARG.traits])
others.worker, others.me, others.now, others.dead_ms = worker, limits.me, now, dead_ms
others.prefer_ms = tonumber(ARGV[ARG.prefer_wait])

-- What may start now: memory, cores, and what is left of each named resource.
local free = { mem = mem, cpu = cpu, resources = resources_of(ARGV[ARG.free]) }

do
  local verdicts = {}
  -- Whether the node could ever run a lane of these needs, by what it has.
  function walks.judge(needs)
    if needs == '' then return true end
    if verdicts[needs] == nil then
      -- There may be thousands that name one label, as that of a host: they are not taken apart.
      local label = string.match(needs, '^constraint=([^,;!]+)$')
      if label then verdicts[needs] = others.me.labels[label] ~= nil else verdicts[needs] = suits(others.me, needs_of(needs), now) end
    end
    return verdicts[needs]
  end
end
local function amounts_of(lane) return lane.needs ~= '' and needs_of(lane.needs).amounts end
local function is_within_node(lane) return lane.mem <= cap_mem and lane.cpu <= cap_cpu and walks.judge(lane.needs) end

local has_finished = redis.call('HLEN', FINISHED) > 0
if shares.mode() then
  shares.read()
  walks.meet = shares.meet
end
-- How many lanes of one priority a share looks at: some milliseconds.
local most_equals = 1024

-- How many lines of a lane are read at once to take so many, from so many lanes.
local function page_of(count, lanes) return math.max(4, math.min(math.ceil(count / lanes), 64)) end

-- Moves a lane to its next candidate; false when it has none left. A page of n is looked up in few calls.
local function advance(lane, n)
  while true do
    lane.at = lane.at + 2
    if lane.at > #lane.lines then
      lane.lines = redis.call('ZRANGE', READY .. 'c:' .. lane.name, lane.from, lane.from + n - 1, 'WITHSCORES')
      lane.from = lane.from + n
      lane.at = 2
      if #lane.lines == 0 then lane.empty = true; return false end
      local page = {}
      for i = 1, #lane.lines, 2 do page[#page + 1] = lane.lines[i] end
      lane.waits, lane.runs = waiting_of(page), get_all(IN_PROGRESS, page)
      if lane.cell.has_gates then gates.read(page) end
    end
    lane.line, lane.score = lane.lines[lane.at - 1], tonumber(lane.lines[lane.at])
    if shares.used then lane.band = shares.band(lane.score) end
    if not skip[lane.line] then return true end
  end
end

reservations.worker, reservations.now, reservations.lease, reservations.starve_ms = worker, now, math.max(dead_ms, 15000), starve_ms
reservations.read(function(lane) return is_within_node(lane) and not limits.is_full(lane.needs) end, free)

local out, picked, stale, touched, closed = {}, { mem = {} }, {}, {}, {}
-- The best lanes that fit the node and not its room: for lack of memory or cores, and of a named resource.
local blocked, blocked_resource

local run_apart, waits
local budget = (want + prefetch) * 2 + 64
-- Bytes of lines in the reply, which a slow link must carry in time.
local bytes, most_bytes = 0, 262144

-- Whether a lane fits now; if it does not and the node could run it, it is remembered as passed over. Nothing is kept for one whose limit is full.
local function fits(lane)
  if limits.is_full(lane.needs) then return false end
  local amounts = amounts_of(lane)
  local is_room = lane.mem <= free.mem and lane.cpu <= free.cpu
  local lacking = amounts and lacks(free.resources, amounts)
  if is_room and not lacking then
    for name in pairs(amounts or {}) do
      if reservations.guarded[name] and lane.score > reservations.guarded[name] then return false end
    end
    return true
  end
  if lane.mem <= cap_mem and lane.cpu <= cap_cpu then
    if not is_room and (not blocked or lane.score < blocked.score) then blocked = lane end
    if is_room and (not blocked_resource or lane.score < blocked_resource.score) then blocked_resource = lane end
  end
  return false
end

-- Whether there can be anything to do with the lanes of a cell. Of one that is too large for the room, and could hold something for the node, only the first
-- lane within the node is looked at.
local function enters_now(cell)
  if cell.least_mem > cap_mem or cell.least_cpu > cap_cpu or limits.is_full(cell.needs) then return false end
  if cell.least_mem <= free.mem and cell.least_cpu <= free.cpu then return true end
  if blocked and blocked.score <= cell.head then return false end
  local k = 1
  while true do
    local lane = lane_at(cell, k)
    if not lane then return false end
    if lane.mem <= cap_mem and lane.cpu <= cap_cpu and not lane.empty and not others.first(lane) then
      fits(lane)
      return false
    end
    k = k + 1
  end
end

-- Takes up to count tasks, best first. The prefetch (not is_now) passes nothing over: a prefetched task must be the one that a slot would take next. A task
-- that asks for a named resource, or counts against a limit, is never prefetched.
local function pick(count, is_now)
  local opened, barrier = 0, nil
  -- Behind a task that reserves, order is that of submission alone: or it might wait for ever.
  local is_fair = shares.used and not reservations.limit
  local open = walks.heap(is_fair and shares.before or function(lane, other) return lane.score < other.score end)
  for _, lane in pairs(touched) do
    if lane.is_taken then
      lane.is_taken = nil
      advance(lane, page_of(count, 1))
    end
  end
  local function may_take(lane)
    -- What nobody knows the memory of is never prefetched, and no slot takes it while one of its family runs here.
    if lane.unknown and not learnt.may_start(lane.unknown) then return false end
    if lane.unknown and not is_now then
      if not barrier or lane.score < barrier then barrier = lane.score end
      return false
    end
    if is_now then return fits(lane) end
    if limits.is_full(lane.needs) then return false end
    local is_plain = lane.needs == '' or (not amounts_of(lane) and #needs_of(lane.needs).limit == 0)
    if is_plain and lane.mem <= prefetch_mem and lane.cpu <= prefetch_cpu then return true end
    if is_within_node(lane) and (not barrier or lane.score < barrier) then barrier = lane.score end
    return false
  end
  -- The lane whose turn it is. Those before it that have no room any more are left out.
  local function best_of()
    local most_mem, most_cpu = prefetch_mem, prefetch_cpu
    if is_now then most_mem, most_cpu = free.mem, free.cpu end
    while open[1] do
      local lane = open[1]
      if is_fair and shares.rank(lane) then
        open.sink()
      elseif (not lane.cell.is_bare or lane.mem > most_mem or lane.cpu > most_cpu) and not may_take(lane) then
        open.pop()
      else
        return lane
      end
    end
  end
  local next_lane = walk(is_now and enters_now or function(cell)
    if cell.least_mem > cap_mem or cell.least_cpu > cap_cpu then return false end
    return not barrier or cell.head < barrier
  end)
  while count > 0 and budget > 0 and bytes < most_bytes do
    local best = best_of()
    while true do
      -- By the head that a lane had at first: a lane that the first pick has advanced must not hide those behind it.
      local most = best and best.score or barrier
      if best and is_fair and opened < most_equals then most = shares.last_equal(best.score) end
      local lane = next_lane(most)
      if not lane then break end
      -- With a share there may be many lanes that are looked at and not taken from: their lines are read when it is their turn.
      if not lane.empty and not others.first(lane) and may_take(lane) and (lane.at > 0 or is_fair or advance(lane, page_of(count, #open + 1))) then
        if is_fair then shares.rank(lane) end
        open.push(lane)
        opened = opened + 1
        best = best_of()
      end
    end
    if not best or (reservations.limit and best.score > reservations.limit) or (barrier and best.score > barrier) then return count end
    local verdict = best.at > 0 and best.level and isolation.verdict(best, is_now, #out)
    if verdict == 'wait' then
      waits = true
      return count
    end
    if best.at == 0 then
      if advance(best, page_of(count, #open)) then open.sink() else open.pop() end
    elseif verdict == 'pass' then
      best.empty = true
      open.pop()
    else
      budget = budget - 1
      local line, at = best.line, best.at / 2
      touched[best.name] = best
      best.taken[#best.taken + 1] = line
      if not best.waits[at] or skip[line] then
        -- stale: somebody removed it behind our back, or it stood in two lanes and was taken from the other
      elseif best.runs[at] or (has_finished and redis.call('HEXISTS', FINISHED, line) == 1) then
        stale[#stale + 1] = line
      elseif best.cell.has_gates and gates.closed(line) then
        -- A gate has closed since: it goes back behind it.
        closed[#closed + 1] = { lane = best.name, line = line, score = best.score }
      else
        out[#out + 1] = line
        bytes = bytes + #line
        picked[#out], picked.mem[#out] = best.score, best.mem
        skip[line] = true
        if shares.used then
          shares.use(best)
          shares.note(line, best.name)
        end
        count = count - 1
        limits.take(best.needs)
        if is_now then
          free.mem, free.cpu = free.mem - best.mem, free.cpu - best.cpu
          take(free.resources, amounts_of(best))
          if best.unknown then learnt.starts(best.unknown) end
        end
        if verdict == 'run' then
          run_apart = line
          best.is_taken = true
          return count
        end
      end
      if count == 0 then
        best.is_taken = true
      elseif advance(best, page_of(count, #open)) then
        open.sink()
      else
        open.pop()
      end
    end
  end
  return count
end

local started = 0
if want > 0 then started = want - pick(want, true) end
if prefetch > 0 and started == want and not reservations.limit and not run_apart and not waits then pick(prefetch, false) end

-- Record the room that stays free, so that a script that adds tasks wakes this worker.
if run_apart then
  redis.call('HDEL', IDLE, worker)
elseif started < want and bytes < most_bytes then
  local room = { int(math.max(0, free.mem)), int(math.max(0, free.cpu)), int(want - started), resources_text(free.resources) }
  redis.pcall('HSET', IDLE, worker, table.concat(room, ':'))
elseif want > 0 then
  redis.call('HDEL', IDLE, worker)
end

local reply = {
  [REPLY.state] = 'OK', [REPLY.waiting] = 0, [REPLY.indexed] = 0, [REPLY.has_leftovers] = 0, [REPLY.reserved] = '', [REPLY.next_timer_ms] = -1,
  [REPLY.started] = started, [REPLY.reserved_mem] = 0,
}
-- Writes what was picked, and fills in the reply. A function, since Lua allows 200 local variables in one.
local function enter()
  local attempts = redis.call('HMGET', ATTEMPTS, unpack(out))
  local signatures = ARGV[ARG.wants_signatures] == '1' and get_all(SIGNATURES, out)
  local claims, ms = {}, int(now)
  members.read(out)
  for i, line in ipairs(out) do
    local attempt = (tonumber(attempts[i] or '0') or 0) + 1
    if attempt == 1 then spread.waited(picked[i], now) end
    -- A claim with a slot counts as started at once: if the worker dies before its next heartbeat, the task counts as lost.
    claims[i] = claim_text(token, int(attempt), i <= started and '2' or '0', int(picked[i]), ms)
    local at = REPLY.size + ROW.size * (i - 1) + 1
    reply[at + ROW.line] = line
    reply[at + ROW.attempt] = attempt
    reply[at + ROW.signature] = signatures and signatures[i] or ''
    local member = members.any and members.parts_of(line)
    reply[at + ROW.names] = member and member.names or ''
    -- Only what waits apart can have waited for something.
    reply[at + ROW.upstream] = none_apart and '' or gates.upstream(line)
    reply[at + ROW.mem] = picked.mem[i]
  end
  enter_progress(worker, out, claims)
  spread.flush()
end
if #out > 0 then enter() end
no_longer_wait(stale)
for i, one in ipairs(closed) do
  local member = lane_of(class_of(one.lane), one.line) .. '\t' .. one.line
  closed[i] = { gate = gates.closed(one.line), batch = members.batch_of(one.line), pairs = { int(one.score), member } }
end
if #closed > 0 then gates.file(closed) end
local apart_ms = run_apart and isolation.start(run_apart)
do
  local taken_from = {}
  for name, lane in pairs(touched) do
    taken_from[#taken_from + 1] = name
    index_delta = index_delta - bulk('ZREM', READY .. 'c:' .. name, lane.taken)
    if lane.workers ~= '' or lane.level then
      bulk('HDEL', HELD, lane.taken)
      bulk('ZREM', RETRY_ELSEWHERE, lane.taken)
    end
    if lane.is_preferred then others.took_preferred(name) end
  end
  index_heads(taken_from)
end
for _, lane in ipairs(to_park) do index_park(lane) end
index_flush()

reservations.fulfil(touched)
do
  local reserved = reservations.mine
  if want > 0 then
    reserved = blocked and reservations.reserve(blocked) or reserved
    if blocked_resource then reservations.reserve(blocked_resource) end
  end
  if reserved then reply[REPLY.reserved], reply[REPLY.reserved_mem] = reserved.line, reserved.mem end
end

reply[REPLY.waiting] = waiting - #out - #stale
reply[REPLY.indexed] = indexed()
do
  -- Whether this node could ever run something that waits. A function, since Lua allows 200 local variables in one.
  local function has_leftovers()
    -- Lines in backoff are examined 64 at a time. What is not examined counts as a line that this node could run.
    local could, from = false, 0
    while not could do
      local page = redis.call('ZRANGE', DELAYED, from, from + 63)
      if #page == 0 then break end
      for _, held in ipairs(get_all(HELD, page)) do
        local m, c, needs = lane_parts(held and select(3, held_parts(held)) or '')
        could = could or (m ~= nil and is_within_node { mem = (learnt.mem(needs, m)), cpu = c, needs = needs })
      end
      from = from + 64
      could = could or from >= 4096
    end
    local next_lane = walk(function(cell) return cell.least_mem <= cap_mem and cell.least_cpu <= cap_cpu end)
    while not could do
      local lane = next_lane(nil)
      if not lane then break end
      could = lane.mem <= cap_mem and lane.cpu <= cap_cpu and redis.call('EXISTS', READY .. 'c:' .. lane.name) == 1
    end
    -- What is behind gates may come free while anything runs that they wait for.
    if not could and has_gates then
      could = redis.call('HLEN', IN_PROGRESS) > 0 or redis.call('EXISTS', READY .. 'opening', READY .. 'times') > 0
    end
    -- What waits of a stopped batch is yet to be given up; the commands for its end may follow.
    could = could or redis.call('EXISTS', READY .. 'chores') == 1
    -- Counters that others have deleted are yet to be made anew, and gates stay closed until then.
    return could or (members.exist() and not members.are_whole())
  end
  if ARGV[ARG.wants_leftovers] == '1' then reply[REPLY.has_leftovers] = has_leftovers() and 1 or 0 end
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
if bytes >= most_bytes or (started < want and has_gates and redis.call('EXISTS', READY .. 'opening') == 1) then reply[REPLY.next_timer_ms] = 0 end
local opens = has_gates and tonumber(redis.call('ZRANGE', READY .. 'times', 0, 0, 'WITHSCORES')[2])
for _, again in ipairs { apart_ms or (waits and 1000) or false, others.wait_ms or false, opens and math.max(0, opens * 1000 - now) or false } do
  if again and (reply[REPLY.next_timer_ms] < 0 or again < reply[REPLY.next_timer_ms]) then reply[REPLY.next_timer_ms] = again end
end
wake_idle()
return reply
