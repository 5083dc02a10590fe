# redis-rb does the scenarios: ruby redis_rb.rb PORT PROTOCOL GROUP, JSON lines. A subscriber is a thread that the
# library keeps until the last channel is left; what it is to do later it is told over a channel of its own.
require 'json'
require 'redis'

LIMIT_SECONDS = 20
CONTROL = 'driver:control'.freeze
CAPITALS = /\A[A-Z]+\z/.freeze
PORT = ARGV[0].to_i

def word_of(text)
  text == "''" ? '' : text.b.gsub(/\\x(..)/) { Regexp.last_match(1).hex.chr }
end

def show(value)
  case value
  when String
    text = value.dup.force_encoding('UTF-8')
    text.valid_encoding? && text !~ /[\x00-\x08\x0b-\x1f]/ ? text : "hex:#{value.unpack1('H*')}"
  when Exception then { error: value.message, kind: value.class.name }
  when Hash then value.to_h { |key, item| [show(key).to_s, show(item)] }
  when Array then value.map { |item| show(item) }
  else value
  end
end

def wait_for
  deadline = Time.now + LIMIT_SECONDS
  loop do
    said = yield
    return said if said
    raise 'waited in vain' if Time.now > deadline

    sleep 0.002
  end
end

class Connection
  attr_reader :id

  def initialize(**login)
    @redis = Redis.new(port: PORT, reconnect_attempts: 0, **login)
    @login = login
    @inbox = Queue.new
    @confirmed = Queue.new
  end

  def close
    @thread&.kill
    @redis.close unless @thread
    @listener&.close
  end

  def command(*words)
    @redis.call(words)
  end

  def watch(*keys)
    @redis.watch(*keys)
  end

  def begin
    @queued = []
    nil
  end

  def queue(*words)
    @queued << words
    nil
  end

  def exec
    @redis.multi { |multi| @queued.each { |words| multi.call(words) } }
  end

  def discard
    [@redis.call(%w[MULTI]), *@queued.map { |words| @redis.call(words) }, @redis.discard]
  end

  def subscribe(*channels)
    told(:subscribe, channels)
  end

  def psubscribe(*patterns)
    told(:psubscribe, patterns)
  end

  def unsubscribe(*channels)
    told(:unsubscribe, channels)
  end

  def punsubscribe(*patterns)
    told(:punsubscribe, patterns)
  end

  def heard(count)
    Array.new(count.to_i) { wait_for { @inbox.pop(true) rescue nil } }
  end

  def flood(channel, count)
    @redis.pipelined { |pipe| count.to_i.times { |i| pipe.publish(channel, i) } }
  end

  def listen
    @listener = Connection.new
    @listener_id = @listener.command('CLIENT', 'ID')
    @listener.subscribe('__redis__:invalidate')
  end

  def track_words
    ['REDIRECT', @listener_id.to_s]
  end

  def invalidated(count)
    @listener.heard(count)
  end

  private

  # Has the subscriber do it, and shows what the server confirmed.
  def told(verb, names)
    if @thread
      Redis.new(port: PORT).tap { |other| other.publish(CONTROL, JSON.generate([verb, names.map { |name| name.unpack1('H*') }])) }.close
    else
      @thread = Thread.new { listen_forever(verb, names) }
    end
    wanted = names.map { |name| [verb.to_s, show(name)] }
    seen = []
    seen << wait_for { @confirmed.pop(true) rescue nil } until seen.last.is_a?(Exception) || (wanted - seen.map { |one| one.take(2) }).empty?
    raise seen.last if seen.last.is_a?(Exception)

    seen
  end

  def listen_forever(verb, names)
    @redis.subscribe(CONTROL) do |on|
      on.subscribe do |channel, count|
        @redis.public_send(verb, *names) if channel == CONTROL
        @confirmed << ['subscribe', show(channel), count]
      end
      on.psubscribe { |pattern, count| @confirmed << ['psubscribe', show(pattern), count] }
      on.unsubscribe { |channel, count| @confirmed << ['unsubscribe', show(channel), count] }
      on.punsubscribe { |pattern, count| @confirmed << ['punsubscribe', show(pattern), count] }
      on.message { |channel, message| channel == CONTROL ? obey(message) : @inbox << [show(channel), show(message)] }
      on.pmessage { |pattern, channel, message| @inbox << [show(pattern), show(channel), show(message)] }
    end
  rescue Redis::BaseError => e
    @confirmed << e
  end

  def obey(message)
    verb, names = JSON.parse(message)
    @redis.public_send(verb, *names.map { |name| [name].pack('H*') })
  end
end

class Scenario
  def initialize
    @connections = {}
  end

  def get(name)
    @connections[name] ||= Connection.new
  end

  def words(connection, texts)
    texts.flat_map do |text|
      if text == '@track' then connection.track_words
      elsif text.start_with?('@id:') then get(text[4..]).command('CLIENT', 'ID').to_s
      else word_of(text)
      end
    end
  end

  # What a step shows; :no_call if the library has none for it.
  def step(line)
    name, verb, *rest = line.split(' ')
    return login(name, *rest) if verb == 'user'

    connection = get(name)
    said = words(connection, rest)
    return show(connection.command(verb, *said)) if verb.match?(CAPITALS)
    return wait_for { show(connection.command(*said.drop(1))).to_s == rest[0] } && rest[0] if verb == 'until'
    return failed?(connection, said) if verb == 'fails'
    return :no_call unless connection.respond_to?(verb)

    show(connection.public_send(verb, *said))
  rescue Redis::BaseError, RuntimeError => e
    show(e)
  end

  def close
    @connections.each_value(&:close)
  end

  private

  def login(name, user, password)
    @connections.delete(name)&.close
    @connections[name] = Connection.new(username: user, password: password)
    show(@connections[name].command('PING'))
  end

  def failed?(connection, words)
    connection.command(*words)
    false
  rescue Redis::BaseError
    true
  end
end

def scenarios
  File.read(File.join(__dir__, 'scenarios.txt')).lines(chomp: true).each_with_object([]) do |line, found|
    if line.start_with?('== ') then found << [line[3..], []]
    elsif !line.empty? && !line.start_with?('#') then found.last[1] << line
    end
  end
end

def main(group)
  (_, setup), *others = scenarios
  others.select { |name, _| name.start_with?(group) }.each do |name, steps|
    scenario = Scenario.new
    setup.each { |line| scenario.step(line) }
    steps.each do |line|
      shown = scenario.step(line)
      break if shown == :no_call

      puts JSON.generate({ scenario: name, step: line, shown: shown })
    end
    scenario.close
  end
end

$stdout.sync = true
Redis.silence_deprecations = true if Redis.respond_to?(:silence_deprecations=)
main(ARGV[2])
exit!(0)
