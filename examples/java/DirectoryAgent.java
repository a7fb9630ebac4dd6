// An agent in Java, on Kafka's own client: the files of one directory are the assets of a system, and it deletes them.
//
//     java -cp "$KAFKA_CLASSPATH" DirectoryAgent.java localhost:9092 expunge. files /srv/files /var/lib/files-agent
//
// What docs/agents.md asks of agents in other languages is here, with no library but the client and Jackson. The order is
// the whole secret: note what begins, delete, note the answer, send it, and only then commit the place of the command.
// One process serves a system. `expunge agent check` plays Expunge against it.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;

public final class DirectoryAgent {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String COMMANDED = "expunge.purge.commanded.v1", WITHDRAWN = "expunge.purge.withdrawn.v1";
    private static final Set<String> KINDS = Set.of("record", "object", "annotation", "embedding", "feature", "dataset",
        "dataset_version", "index", "cache", "log", "model", "checkpoint", "deployment", "backup", "recipient_copy");

    private final String prefix, system;
    private final Path directory;
    private final FileChannel memory;
    private final KafkaProducer<String, byte[]> producer;

    // What a process that starts anew must know. Answers are for their own command; only "begun" and "gone" are carried over.
    private final Map<String, String> answers = new HashMap<>();  // command/asset -> claim
    private final Map<String, Set<String>> answered = new HashMap<>();  // command -> assets
    private final Set<String> withdrawn = new HashSet<>();
    private final Set<String> begun = new HashSet<>();  // assets of which a try was cut off, or that were deleted here
    private final Map<String, Integer> sequences = new HashMap<>();  // command/attempt -> last receipt

    public static void main(String[] arguments) throws Exception {
        if (arguments.length != 5) {
            System.err.println("usage: DirectoryAgent BOOTSTRAP PREFIX SYSTEM DIRECTORY STATE");
            System.exit(2);
        }
        new DirectoryAgent(arguments).serve(arguments[0]);
    }

    private DirectoryAgent(String[] arguments) throws IOException {
        prefix = arguments[1];
        system = arguments[2];
        directory = Path.of(arguments[3]).toRealPath();
        Path state = Path.of(arguments[4]);
        if (Files.exists(state)) {
            for (String line : Files.readAllLines(state)) {
                if (!line.isBlank()) learn(line.split(" ", 4));
            }
        }
        memory = FileChannel.open(state, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        memory.write(ByteBuffer.wrap("\n".getBytes(StandardCharsets.UTF_8)));  // whatever line a crash has cut off
        Properties settings = new Properties();
        settings.put("bootstrap.servers", arguments[0]);
        settings.put("acks", "all");
        settings.put("enable.idempotence", true);
        producer = new KafkaProducer<>(settings, new StringSerializer(), new ByteArraySerializer());
    }

    private void serve(String bootstrap) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("group.id", prefix + "agent." + system);
        settings.put("enable.auto.commit", false);
        settings.put("auto.offset.reset", "earliest");
        settings.put("isolation.level", "read_committed");
        settings.put("session.timeout.ms", 6000);
        settings.put("heartbeat.interval.ms", 1500);
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(prefix + "commands." + system));
            System.err.println("agent started");
            while (true) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) read(record.value());
                producer.flush();
                consumer.commitSync();
            }
        }
    }

    // A message, whatever is in it: what cannot be read stops nothing.
    private void read(byte[] value) throws IOException {
        JsonNode event;
        try {
            event = value == null ? null : JSON.readTree(value);
        } catch (IOException error) {
            event = null;
        }
        JsonNode data = event == null ? null : event.get("data");
        if (data == null || !data.path("command_id").isTextual() || data.path("attempt").asInt() < 1) {
            System.err.println("not a command; skipped");
        } else if (event.path("type").asText().equals(WITHDRAWN)) {
            note("withdrawn", data.get("command_id").asText());
            letGo(data);
        } else if (event.path("type").asText().equals(COMMANDED)) {
            if (withdrawn.contains(data.get("command_id").asText())) letGo(data);
            else carryOut(data);
        }
    }

    private void carryOut(JsonNode command) throws IOException {
        String id = command.get("command_id").asText();
        List<ObjectNode> results = new ArrayList<>();
        for (JsonNode target : command.path("targets")) {
            String asset = target.path("asset").asText(), key = id + "/" + asset;
            if (!command.path("action").asText().equals("delete")) results.add(result(asset, "failed", "unsupported_action"));
            else if (!KINDS.contains(target.path("kind").asText())) results.add(result(asset, "failed", "unsupported_kind"));
            else {
                if (target.hasNonNull("refused")) answers.remove(key);  // it did not count: look again
                if (!answers.containsKey(key)) delete(id, asset);
                String claim = answers.get(key);
                results.add(result(asset, claim == null ? "failed" : claim, claim == null ? "io_error" : null));
            }
        }
        send(command, "done", results);
    }

    // A failure is not remembered: the command is repeated, and what is missing then is gone by this try.
    private void delete(String command, String asset) throws IOException {
        Path file = directory.resolve(asset).normalize();
        if (asset.isEmpty() || asset.startsWith(".") || !file.getParent().equals(directory)) {
            note("answer", command, "not_found", asset);
            return;
        }
        boolean interrupted = begun.contains(asset);
        note("begun", asset);
        try {
            boolean gone = Files.deleteIfExists(file);
            if (!gone && !interrupted) note("nothing", asset);
            note("answer", command, gone || interrupted ? "deleted" : "not_found", asset);
        } catch (IOException error) {
            System.err.println("a file could not be deleted: " + error.getClass().getSimpleName());
        }
    }

    private void letGo(JsonNode word) throws IOException {
        String id = word.get("command_id").asText();
        List<ObjectNode> results = new ArrayList<>();
        for (String asset : answered.getOrDefault(id, Set.of())) results.add(result(asset, answers.get(id + "/" + asset), null));
        send(word, "withdrawn", results);
    }

    private static ObjectNode result(String asset, String claim, String reason) {
        ObjectNode result = JSON.createObjectNode().put("asset", asset).put("claim", claim);
        return reason == null ? result : result.put("reason_code", reason);
    }

    private void send(JsonNode word, String status, List<ObjectNode> results) throws IOException {
        String id = word.get("command_id").asText(), attempt = word.get("attempt").asText();
        int sequence = sequences.getOrDefault(id + "/" + attempt, 0) + 1;
        note("receipt", id, attempt, Integer.toString(sequence));
        ObjectNode data = JSON.createObjectNode().put("command_id", id).put("case_id", word.path("case_id").asText());
        data.put("system", system).put("attempt", word.get("attempt").asInt()).put("sequence", sequence);
        data.put("status", status).put("performed_at", Instant.now().toString());
        data.putArray("results").addAll(results);
        ObjectNode event = JSON.createObjectNode().put("specversion", "1.0").put("source", "/systems/" + system);
        event.put("id", id + "-" + attempt + "-" + sequence).put("type", "expunge.purge.receipted.v1").set("data", data);
        producer.send(new ProducerRecord<>(prefix + "receipts." + system, id, JSON.writeValueAsBytes(event)));
    }

    // Keep a word, and learn it. It is on the disk before anything is done or said because of it.
    private void note(String... words) throws IOException {
        memory.write(ByteBuffer.wrap((String.join(" ", words) + "\n").getBytes(StandardCharsets.UTF_8)));
        memory.force(false);
        learn(String.join(" ", words).split(" ", 4));
    }

    private void learn(String[] words) {
        switch (words[0]) {
            case "begun" -> begun.add(rest(words, 1));
            case "nothing" -> begun.remove(rest(words, 1));
            case "withdrawn" -> withdrawn.add(words[1]);
            case "receipt" -> sequences.merge(words[1] + "/" + words[2], Integer.parseInt(words[3]), Math::max);
            case "answer" -> {
                answers.put(words[1] + "/" + words[3], words[2]);
                answered.computeIfAbsent(words[1], command -> new HashSet<>()).add(words[3]);
            }
            default -> { }  // a line that a crash has cut off
        }
    }

    private static String rest(String[] words, int from) {
        return String.join(" ", List.of(words).subList(from, words.length));
    }
}
