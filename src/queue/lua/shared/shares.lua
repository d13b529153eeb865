-- Fair share: among waiting tasks of equal priority those of the owner with the least cores in use come first.
--
-- POLICY fair_share is "user" (the owner of a task is who made its batch) or "batch"; without it there is no share, and what is below does not exist. Tasks
-- outside batches have one owner together, "". POLICY "weight:OWNER" is how many times the cores of others an owner may use. USING_OF[line] = BATCH|CPU of
-- each line in progress that is counted, and USING[batch] the sums, in thousandths of a core; a task counts as a thousandth at least. A sum changes with the
-- field of its line in one script, so that a repeated call never counts twice. Whatever is missed is counted when records are reconciled (share.lua).

local USING, USING_OF = READY .. 'using', READY .. 'using:of'

local shares = { costs = {}, owners = {}, weights = {} }

-- "user", "batch", or false.
function shares.mode()
  if shares.known == nil then shares.known = redis.call('HGET', POLICY, 'fair_share') end
  return shares.known
end

-- Remembers what a line that is about to come into progress asks for, by its class or its lane.
function shares.note(line, class) shares.costs[line] = math.max(1, tonumber(string.match(class, '^%d+:(%d+):') or '1')) end

-- Counts lines that come into progress, those that were noted.
function shares.enter(lines)
  if not next(shares.costs) or not shares.mode() then return end
  for _, line in ipairs(lines) do
    local cost = shares.costs[line]
    if cost then
      local batch = members.batch_of(line)
      if redis.call('HSETNX', USING_OF, line, batch .. '|' .. int(cost)) == 1 then redis.call('HINCRBY', USING, batch, int(cost)) end
    end
  end
end

-- Counts them no more.
function shares.leave(lines)
  if not shares.mode() then return end
  for i, value in ipairs(get_all(USING_OF, lines)) do
    local batch, cost = string.match(value or '', '^([^|]*)|(%d+)$')
    if batch and redis.call('HDEL', USING_OF, lines[i]) == 1 and redis.call('HINCRBY', USING, batch, -cost) <= 0 then
      redis.call('HDEL', USING, batch)
    end
  end
end

-- Looks up the owners of many batches in one call.
function shares.meet(batches)
  if shares.mode() == 'batch' then return end
  local unknown, is_listed = {}, {}
  for _, batch in ipairs(batches) do
    if batch ~= '' and not shares.owners[batch] and not is_listed[batch] then
      unknown[#unknown + 1], is_listed[batch] = batch, true
    end
  end
  for i, record in ipairs(get_all(BATCHES, unknown)) do shares.owners[unknown[i]] = string.match(record or '', '"by":"([^"]*)"') or '' end
end

-- The owner of a batch.
function shares.owner(batch)
  if batch == '' or shares.mode() == 'batch' then return batch end
  if not shares.owners[batch] then shares.meet { batch } end
  return shares.owners[batch]
end

-- Reads what is in use, once a claim.
function shares.read()
  shares.used = {}
  local using = redis.call('HGETALL', USING)
  for i = 1, #using, 2 do
    local owner = shares.owner(using[i])
    shares.used[owner] = (shares.used[owner] or 0) + (tonumber(using[i + 1]) or 0)
  end
  local policy = redis.call('HGETALL', POLICY)
  for i = 1, #policy, 2 do
    local owner = string.match(policy[i], '^weight:(.*)$')
    local weight = tonumber(policy[i + 1])
    if owner and weight and weight > 0 then shares.weights[owner] = weight end
  end
end

-- A task of a lane was claimed in this call.
function shares.use(lane)
  local owner = shares.owner(lane.batch)
  shares.used[owner] = (shares.used[owner] or 0) + math.max(1, lane.cpu)
end

-- The same for all scores of one priority.
function shares.band(score) return math.floor(score / 137438953472) end

-- The greatest score of the priority of a score.
function shares.last_equal(score) return (shares.band(score) + 1) * 137438953472 - 1 end

-- Notes what the owner of a lane uses, over its weight. Answers whether that has changed.
function shares.rank(lane)
  local owner = lane.owner
  if not owner then
    owner = shares.owner(lane.batch)
    lane.owner, lane.band = owner, shares.band(lane.score)
  end
  local used = (shares.used[owner] or 0) / (shares.weights[owner] or 1)
  if lane.used == used then return false end
  lane.used = used
  return true
end

-- Whether a lane comes before another. Both are ranked.
function shares.before(lane, other)
  if lane.band ~= other.band then return lane.band < other.band end
  if lane.used ~= other.used then return lane.used < other.used end
  return lane.score < other.score
end
