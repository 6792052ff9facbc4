import org.apache.camel.builder.RouteBuilder;
import org.apache.camel.main.Main;
import org.apache.camel.model.RouteDefinition;

/** MLLP → Kafka with acks=all, idempotent, no linger: plain, or parsed and encoded again by HAPI. */
public class CamelMllp {
    public static void main(String[] arguments) throws Exception {
        String port = arguments[0], kafka = arguments[1], topic = arguments[2];
        boolean parse = arguments[3].equals("parse");
        Main main = new Main();
        main.configure().setBasePackageScanEnabled(false);
        main.configure().addRoutesBuilder(new RouteBuilder() {
            @Override
            public void configure() {
                RouteDefinition route = from("mllp://127.0.0.1:" + port + "?maxConcurrentConsumers=64");
                if (parse) {
                    route = (RouteDefinition) route.unmarshal().hl7(false);
                    route = (RouteDefinition) route.marshal().hl7(false);
                }
                route.to("kafka:" + topic + "?brokers=" + kafka
                    + "&requestRequiredAcks=all&enableIdempotence=true&lingerMs=0"
                    + "&valueSerializer=org.apache.kafka.common.serialization.ByteArraySerializer");
            }
        });
        main.run();
    }
}
