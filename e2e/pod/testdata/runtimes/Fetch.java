import java.net.URI;

/** Asks a site with HttpsURLConnection, configured by JAVA_TOOL_OPTIONS alone. */
class Fetch {
    public static void main(String[] args) throws Exception {
        try (var body = URI.create(args[0]).toURL().openStream()) {
            body.transferTo(System.out);
        }
    }
}
