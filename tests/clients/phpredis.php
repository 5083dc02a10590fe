<?php
// phpredis does the scenarios: php phpredis.php PORT PROTOCOL GROUP, JSON lines. The library's subscribe() returns when the
// subscription ends: each is a process of its own, this file called with the channels, whose lines the scenario reads.
// It takes what a message says for a text, so it cannot hear invalidations, which are lists.

const LIMIT_SECONDS = 20;
const CONTROL = 'driver:control';

function word_of(string $text): string
{
    return $text === "''" ? '' : preg_replace_callback('/\\\\x(..)/', fn ($hexed) => chr(hexdec($hexed[1])), $text);
}

function show($value)
{
    if (is_string($value)) {
        return preg_match('/^[^\x00-\x08\x0b-\x1f]*$/u', $value) ? $value : 'hex:' . bin2hex($value);
    }
    if ($value instanceof Throwable) {
        return ['error' => $value->getMessage(), 'kind' => get_class($value)];
    }
    if ($value instanceof Redis) {
        return 'the connection';
    }
    return is_array($value) ? array_map('show', $value) : $value;
}

function line_of(array $value): string
{
    return json_encode($value, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES) . "\n";
}

function wait_for(callable $condition)
{
    for ($deadline = microtime(true) + LIMIT_SECONDS; ; usleep(2000)) {
        if ($said = $condition()) {
            return $said;
        }
        if (microtime(true) > $deadline) {
            throw new Exception('waited in vain');
        }
    }
}

function connect(?array $login): Redis
{
    $redis = new Redis();
    $redis->connect('127.0.0.1', (int) $GLOBALS['argv'][1], LIMIT_SECONDS, null, 0, LIMIT_SECONDS, $login ? ['auth' => $login] : []);
    return $redis;
}

/** The process that subscribes: VERB, the login or null, and the channels, as JSON. */
function subscriber(string $verb, ?array $login, array $names): void
{
    try {
        $redis = connect($login);
        $names = array_map('hex2bin', $names);
        $redis->$verb([...$names, CONTROL . getmypid()], function ($redis, ...$message) use ($verb, $names) {
            if ($message[count($message) - 2] !== CONTROL . getmypid()) {
                echo line_of(['message' => show($message)]);
            } elseif (end($message) === 'leave') {
                $redis->{$verb === 'subscribe' ? 'unsubscribe' : 'punsubscribe'}($names);
                echo line_of(['left' => true]);
            }
        });
        echo line_of(['ended' => $redis->getLastError()]);
    } catch (RedisException $e) {
        echo line_of(['thrown' => show($e)]);
    }
}

/** A subscriber's process, as the scenario sees it. */
class Subscription
{
    public array $messages = [];
    public array $said = [];
    private $process;
    private array $pipes = [];
    private string $rest = '';

    public function __construct(private Redis $other, string $verb, ?array $login, public array $names)
    {
        $command = [PHP_BINARY, __FILE__, $GLOBALS['argv'][1], 'subscriber', json_encode([$verb, $login, array_map('bin2hex', $names)])];
        $this->process = proc_open($command, [['file', '/dev/null', 'r'], ['pipe', 'w'], STDERR], $this->pipes);
        stream_set_blocking($this->pipes[1], false);
        $control = CONTROL . proc_get_status($this->process)['pid'];
        wait_for(fn () => $this->read() || $this->other->publish($control, 'here?') > 0);
    }

    /** Whether it said something of its end. */
    public function read(): bool
    {
        $this->rest .= stream_get_contents($this->pipes[1]);
        while (($end = strpos($this->rest, "\n")) !== false) {
            $line = json_decode(substr($this->rest, 0, $end), true);
            $this->rest = substr($this->rest, $end + 1);
            if (isset($line['message'])) {
                $this->messages[] = $line['message'];
            } else {
                $this->said = $line;
            }
        }
        return $this->said !== [];
    }

    public function leave(): array
    {
        $this->other->publish(CONTROL . proc_get_status($this->process)['pid'], 'leave');
        wait_for(fn () => $this->read());
        [$said, $this->said] = [$this->said, []];
        return $said;
    }

    public function end(): void
    {
        proc_terminate($this->process, 9);
        proc_close($this->process);
    }
}

class Connection
{
    private Redis $redis;
    private array $subscriptions = [];
    private $multi = null;

    public function __construct(private ?array $login = null)
    {
        $this->redis = connect($login);
    }

    /** An error that the library keeps to itself is shown as well. */
    private function told($reply)
    {
        $error = $this->redis->getLastError();
        $this->redis->clearLastError();
        return $error === null ? $reply : ['reply' => $reply, 'last error' => $error];
    }

    public function command(...$words)
    {
        return $this->told($this->redis->rawCommand(...$words));
    }

    public function watch(...$keys) { return $this->redis->watch($keys); }
    public function begin() { return show($this->multi = $this->redis->multi()); }
    public function exec() { return $this->told($this->multi->exec()); }

    /** After an error at once, the library's exec() waits for a reply that never comes. */
    public function queue($name, ...$args)
    {
        return show($this->multi->rawCommand($name, ...$args) ?: throw new NoCall());
    }

    public function discard() { return $this->told($this->redis->discard()); }

    public function subscribe(...$names) { return $this->subscription('subscribe', $names); }
    public function psubscribe(...$names) { return $this->subscription('psubscribe', $names); }
    /** To leave some channels ends the library's loop: only what was subscribed together is left together. */
    public function unsubscribe(...$names) { return $this->left($names); }
    public function punsubscribe(...$names) { return $this->left($names); }

    private function subscription(string $verb, array $names)
    {
        $this->subscriptions[] = $made = new Subscription(connect(null), $verb, $this->login, $names);
        return $made->said ?: count($names);
    }

    private function left(array $names)
    {
        foreach ($this->subscriptions as $one) {
            if ($one->names === $names) {
                return $one->leave();
            }
        }
        throw new NoCall();
    }

    /** What several processes heard has no order between them. */
    public function heard($count)
    {
        $all = function () use ($count) {
            array_walk($this->subscriptions, fn ($one) => $one->read());
            $sum = array_merge(...array_map(fn ($one) => $one->messages, $this->subscriptions));
            return count($sum) >= (int) $count ? $sum : null;
        };
        $sum = wait_for($all);
        foreach ($this->subscriptions as $one) {
            $one->messages = [];
        }
        if (count($this->subscriptions) > 1) {
            sort($sum);
        }
        return $sum;
    }

    public function flood($channel, $count)
    {
        $pipe = $this->redis->pipeline();
        for ($i = 0; $i < (int) $count; $i++) {
            $pipe->publish($channel, (string) $i);
        }
        return $pipe->exec();
    }

    public function end(): void
    {
        array_walk($this->subscriptions, fn ($one) => $one->end());
        $this->redis->close();
    }
}

class NoCall extends Exception
{
}

class Scenario
{
    private array $connections = [];

    private function get(string $name): Connection
    {
        return $this->connections[$name] ??= new Connection();
    }

    private function words(Connection $connection, array $texts): array
    {
        $words = [];
        foreach ($texts as $text) {
            if (str_starts_with($text, '@id:')) {
                $words[] = (string) $this->get(substr($text, 4))->command('CLIENT', 'ID');
            } else {
                $words[] = word_of($text);
            }
        }
        return $words;
    }

    private function step_of(string $name, string $verb, array $rest)
    {
        if ($verb === 'user') {
            unset($this->connections[$name]);
            return ($this->connections[$name] = new Connection($rest))->command('PING');
        }
        $connection = $this->get($name);
        $words = $this->words($connection, $rest);
        if ($verb === strtoupper($verb)) {
            return $connection->command($verb, ...$words);
        }
        if ($verb === 'until') {
            wait_for(fn () => json_encode(show($connection->command(...array_slice($words, 1)))) === $rest[0]);
            return $rest[0];
        }
        if ($verb === 'fails') {
            try {
                return is_array($connection->command(...$words));
            } catch (RedisException) {
                return true;
            }
        }
        if (!method_exists($connection, $verb)) {
            throw new NoCall();
        }
        return $connection->$verb(...$words);
    }

    public function step(string $line)
    {
        [$name, $verb] = $rest = explode(' ', $line);
        try {
            return show($this->step_of($name, $verb, array_slice($rest, 2)));
        } catch (NoCall $e) {
            throw $e;
        } catch (Throwable $e) {
            return show($e);
        }
    }

    public function end(): void
    {
        array_walk($this->connections, fn ($one) => $one->end());
    }
}

function scenarios(): array
{
    $found = [];
    foreach (file(__DIR__ . '/scenarios.txt', FILE_IGNORE_NEW_LINES) as $line) {
        if (str_starts_with($line, '== ')) {
            $found[] = [substr($line, 3), []];
        } elseif ($line !== '' && $line[0] !== '#') {
            $found[count($found) - 1][1][] = $line;
        }
    }
    return $found;
}

function main(string $group): void
{
    $all = scenarios();
    $setup = array_shift($all)[1];
    foreach ($all as [$name, $steps]) {
        if (!str_starts_with($name, $group)) {
            continue;
        }
        $scenario = new Scenario();
        array_walk($setup, fn ($line) => $scenario->step($line));
        try {
            foreach ($steps as $line) {
                echo line_of(['scenario' => $name, 'step' => $line, 'shown' => $scenario->step($line)]);
            }
        } catch (NoCall) {
        }
        $scenario->end();
    }
}

if ($argv[2] === 'subscriber') {
    subscriber(...json_decode($argv[3], true));
} else {
    main($argv[3]);
}
