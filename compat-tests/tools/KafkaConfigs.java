import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.coordinator.group.GroupConfig;
import org.apache.kafka.server.config.AbstractKafkaConfig;
import org.apache.kafka.server.config.ConfigSynonym;
import org.apache.kafka.server.config.DynamicBrokerConfig;
import org.apache.kafka.server.config.QuotaConfig;
import org.apache.kafka.server.config.ServerTopicConfigSynonyms;
import org.apache.kafka.server.metrics.ClientMetricsConfigs;
import org.apache.kafka.storage.internals.log.LogConfig;

/** Prints the configs of topics, brokers, groups and client metrics, a line each; see kafka_configs.py. */
public class KafkaConfigs {
    public static void main(String[] arguments) throws Exception {
        var topics = new TreeMap<String, List<String>>();
        ServerTopicConfigSynonyms.ALL_TOPIC_CONFIG_SYNONYMS.forEach(
                (name, synonyms) -> topics.put(name, synonyms.stream().map(ConfigSynonym::name).toList()));
        var groups = new TreeMap<String, List<String>>();
        GroupConfig.ALL_GROUP_CONFIG_SYNONYMS.forEach(
                (name, synonym) -> groups.put(name, synonym.map(List::of).orElse(List.of())));
        var brokers = new TreeMap<String, List<String>>();
        for (String name : AbstractKafkaConfig.CONFIG_DEF.names())
            brokers.put(name, DynamicBrokerConfig.brokerConfigSynonyms(name, true));
        var topicDefinitions = LogConfig.class.getDeclaredField("CONFIG");
        topicDefinitions.setAccessible(true);
        print("topic", (ConfigDef) topicDefinitions.get(null), topics, Map.of(), "");
        print("broker", AbstractKafkaConfig.CONFIG_DEF, brokers, DynamicBrokerConfig.dynamicConfigUpdateModes(), "read-only");
        // Known to brokers, though not among their own: the rates of replication.
        print("broker", QuotaConfig.brokerQuotaConfigs(), Map.of(), Map.of(), "per-broker");
        print("group", GroupConfig.CONFIG_DEF, groups, Map.of(), "");
        print("client_metrics", ClientMetricsConfigs.configDef(), Map.of(), Map.of(), "");
    }

    private static void print(
            String scope, ConfigDef definitions, Map<String, List<String>> synonyms, Map<String, String> modes, String mode) {
        for (var key : definitions.configKeys().values()) {
            if (key.internalConfig)
                continue;
            String value = key.hasDefault() ? ConfigDef.convertToString(key.defaultValue, key.type) : null;
            System.out.println(String.join("\t",
                    scope,
                    key.name,
                    key.type.name(),
                    value == null ? "\\N" : value,
                    key.validator == null ? "" : key.validator.toString(),
                    modes.getOrDefault(key.name, mode),
                    String.join(",", synonyms.getOrDefault(key.name, List.of()))));
        }
    }
}
