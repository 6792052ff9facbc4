import io.github.linuxforhealth.hl7.HL7ToFHIRConverter;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** Converts one message again and again for some seconds, after as long a warm-up; prints messages a second of this
 * thread's processor time (what its compiler and collector take beside it is not counted). */
public class Convert {
    public static void main(String[] arguments) throws Exception {
        String message = Files.readString(Path.of(arguments[0]), StandardCharsets.UTF_8);
        double seconds = Double.parseDouble(arguments[1]);
        HL7ToFHIRConverter converter = new HL7ToFHIRConverter();
        rate(converter, message, seconds);
        System.out.printf("%.1f%n", rate(converter, message, seconds));
    }

    private static double rate(HL7ToFHIRConverter converter, String message, double seconds) {
        ThreadMXBean threads = ManagementFactory.getThreadMXBean();
        long start = threads.getCurrentThreadCpuTime();
        long end = start + (long) (seconds * 1e9);
        int count = 0;
        int length = 0;
        while (threads.getCurrentThreadCpuTime() < end) {
            length += converter.convert(message).length();
            count++;
        }
        if (length == 0) {
            throw new IllegalStateException("nothing converted");
        }
        return count / ((threads.getCurrentThreadCpuTime() - start) / 1e9);
    }
}
